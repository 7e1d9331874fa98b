//! What each chat command does. Carried out twice for the same message, it changes things once and
//! says the same.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Answer, FORGET_ALL, Incoming, QUESTION_OPEN, Responder};
use crate::bot::commands::{Command, HELP_CHINESE, HELP_ENGLISH, Usage};
use crate::bot::outgoing;
use crate::language::Language;
use crate::memory::{MAX_STATEMENT_CHARS, Scope, Utterance};
use crate::store::{Forgotten, NewReminder, Result};

/// Memories listed at a time.
const LISTED: usize = 20;
/// Reminders a person may have.
const MAX_REMINDERS: usize = 50;

impl Responder {
    pub(super) async fn carry_out(
        &self,
        command: Command,
        incoming: &Incoming<'_>,
        scope: &Scope,
        language: Language,
    ) -> Result<Answer> {
        let text = match command {
            Command::Help => help(),
            Command::Ping => "pong".to_owned(),
            Command::Time => self.time(language),
            Command::Remember(text) => self.remember(&text, incoming, scope, language).await?,
            Command::Remind { interval, text } => {
                self.remind(interval, &text, incoming, scope, language).await?
            }
            Command::Memories(query) => self.memories(query.as_deref(), scope, language).await?,
            Command::Forget(number) => self.forget(number, incoming, scope, language).await?,
            Command::ForgetAll => return self.ask_to_forget_all(scope, language).await,
            Command::New => {
                let text = language.pick(
                    "好的，我们重新开始。你的记忆都还在。",
                    "All right, a fresh start. Your memories are still here.",
                );
                let mut answer = Answer::plain(text, "command");
                answer.continuation.forget_before = true;
                return Ok(answer);
            }
            Command::Malformed(usage) => explain(usage, language).to_owned(),
            Command::Unknown(nearest) => unknown(nearest, language),
        };
        Ok(Answer::plain(text, "command"))
    }

    fn time(&self, language: Language) -> String {
        let now = self.clock.now().to_zoned(self.replier.time_zone.clone());
        let time = now.strftime("%Y-%m-%d %H:%M:%S");
        let zone = now.strftime("%Q");
        match language {
            Language::Chinese => format!("现在是 {time}（{zone}）"),
            Language::English => format!("It is {time} ({zone})"),
        }
    }

    async fn remember(
        &self,
        text: &str,
        incoming: &Incoming<'_>,
        scope: &Scope,
        language: Language,
    ) -> Result<String> {
        if let Some(refusal) = too_long(text, language) {
            return Ok(refusal);
        }
        let said = Utterance { text, source: incoming.source, said_at: incoming.said_at };
        let number = self.memory.remember(scope, said).await?.number;
        Ok(match language {
            Language::Chinese => format!("记住了（#{number}）：{text}"),
            Language::English => format!("Remembered (#{number}): {text}"),
        })
    }

    async fn remind(
        &self,
        interval: Duration,
        text: &str,
        incoming: &Incoming<'_>,
        scope: &Scope,
        language: Language,
    ) -> Result<String> {
        if let Some(refusal) = too_long(text, language) {
            return Ok(refusal);
        }
        let Some(target) = outgoing::push_target(incoming.message, &self.dingtalk) else {
            return Ok(language
                .pick(
                    "我还没有可以推送提醒的地方：请管理员配置 dingtalk.client_id 和 \
                     dingtalk.client_secret，或群机器人（ACCESS_TOKEN 和 SECRET）。",
                    "I have nowhere to push a reminder yet: an administrator must set \
                     dingtalk.client_id and dingtalk.client_secret, or a group robot \
                     (ACCESS_TOKEN and SECRET).",
                )
                .to_owned());
        };
        let interval_millis = interval.as_millis() as i64;
        let elsewhere = target.is_elsewhere();
        let reminder = NewReminder {
            user_id: scope.owner().into_owned(),
            text: text.to_owned(),
            interval_millis,
            next_at: incoming.said_at + interval_millis,
            target: target.to_json(),
            source: incoming.source.to_owned(),
            created_at: incoming.said_at,
        };
        let Some(number) = self.store.add_reminder(reminder, MAX_REMINDERS).await? else {
            return Ok(match language {
                Language::Chinese => {
                    format!("提醒已经有 {MAX_REMINDERS} 条了，请先用 /forget 编号 删掉一些。")
                }
                Language::English => format!(
                    "You have {MAX_REMINDERS} reminders already. Please remove some with \
                     /forget ID first."
                ),
            });
        };
        self.alarm.notify_one();
        let every = spoken(interval, language);
        let mut said = match language {
            Language::Chinese => format!("好的，每 {every} 提醒一次（#{number}）：{text}"),
            Language::English => format!("Every {every} I will remind you (#{number}): {text}"),
        };
        if elsewhere {
            said.push_str(language.pick(
                "\n\n提醒会发到群机器人所在的群里，群成员都能看到。",
                "\n\nThe reminder goes to the group of the group robot, where everyone can read it.",
            ));
        }
        Ok(said)
    }

    async fn memories(
        &self,
        query: Option<&str>,
        scope: &Scope,
        language: Language,
    ) -> Result<String> {
        let (memories, total) = match query {
            Some(query) => {
                let found = self.memory.recall(scope, query, LISTED).await?;
                let found: Vec<_> = found.into_iter().map(|r| r.record).collect();
                let total = found.len();
                (found, total)
            }
            None => (self.memory.list(scope, LISTED).await?, self.memory.count(scope).await?),
        };
        let reminders: Vec<_> = self
            .store
            .reminders(&scope.owner())
            .await?
            .into_iter()
            .filter(|r| query.is_none_or(|q| r.text.contains(q)))
            .collect();
        if memories.is_empty() && reminders.is_empty() {
            return Ok(match query {
                Some(_) => language.pick("没有找到相关的记忆。", "No memory matches."),
                None => language.pick(
                    "我还没有记住关于你的事。用 /remember 内容 告诉我。",
                    "I do not remember anything about you yet. Tell me with /remember TEXT.",
                ),
            }
            .to_owned());
        }
        let mut listed = String::new();
        for memory in &memories {
            let _ = writeln!(listed, "- #{} {}", memory.number, one_line(&memory.text));
        }
        for reminder in &reminders {
            let interval = Duration::from_millis(reminder.interval_millis.unsigned_abs());
            let every = spoken(interval, language);
            let text = one_line(&reminder.text);
            let _ = match language {
                Language::Chinese => {
                    writeln!(listed, "- #{} ⏰ 每 {every}：{text}", reminder.number)
                }
                Language::English => {
                    writeln!(listed, "- #{} ⏰ every {every}: {text}", reminder.number)
                }
            };
        }
        if total > memories.len() {
            let shown = memories.len();
            let _ = match language {
                Language::Chinese => writeln!(
                    listed,
                    "\n共 {total} 条记忆，以上是最新的 {shown} 条；用 /memories 关键词 查找其余的。"
                ),
                Language::English => writeln!(
                    listed,
                    "\nThe newest {shown} of {total} memories; find the others with \
                     /memories QUERY."
                ),
            };
        }
        Ok(listed.trim_end().to_owned())
    }

    async fn forget(
        &self,
        number: i64,
        incoming: &Incoming<'_>,
        scope: &Scope,
        language: Language,
    ) -> Result<String> {
        let (source, now) = (incoming.source, self.clock.now_millis());
        let mut gone = self.memory.forget(scope, number, source, now).await? != Forgotten::Unknown;
        if !gone {
            gone = self.store.remove_reminder(&scope.owner(), number, source, now).await?;
        }
        Ok(match (gone, language) {
            (true, Language::Chinese) => format!("已忘记 #{number}。"),
            (true, Language::English) => format!("Forgotten: #{number}."),
            (false, Language::Chinese) => {
                format!("没有编号 #{number} 的记忆或提醒。用 /memories 查看。")
            }
            (false, Language::English) => {
                format!("There is no memory or reminder #{number}. See /memories.")
            }
        })
    }

    async fn ask_to_forget_all(&self, scope: &Scope, language: Language) -> Result<Answer> {
        let memories = self.memory.count(scope).await?;
        let reminders = self.store.reminders(&scope.owner()).await?.len();
        if memories + reminders == 0 {
            let text = language.pick("没有可以忘记的内容。", "There is nothing to forget.");
            return Ok(Answer::plain(text, "command"));
        }
        let text = match language {
            Language::Chinese => format!(
                "确定要忘记全部 {memories} 条记忆和 {reminders} 条提醒吗？五分钟内回复「确认」。"
            ),
            Language::English => format!(
                "Forget all {memories} memories and {reminders} reminders? Reply \"yes\" within \
                 five minutes."
            ),
        };
        let mut answer = Answer::plain(text, "command");
        let until = self.clock.now_millis() + QUESTION_OPEN.as_millis() as i64;
        answer.continuation.question = Some((FORGET_ALL.to_owned(), until));
        Ok(answer)
    }

    pub(super) async fn forget_all(
        &self,
        incoming: &Incoming<'_>,
        scope: &Scope,
        language: Language,
    ) -> Result<Answer> {
        let count = self.memory.forget_all(scope, incoming.source, incoming.said_at).await?;
        let text = match language {
            Language::Chinese => format!("已全部忘记，共 {count} 条。"),
            Language::English => format!("Everything is forgotten: {count} in all."),
        };
        let mut answer = Answer::plain(text, "command");
        // What was said of them goes too, else the model would remember what was forgotten.
        answer.continuation.forget_before = true;
        Ok(answer)
    }
}

/// The commands as a Markdown list, Chinese first.
fn help() -> String {
    let list = |lines: &str| -> String { lines.lines().map(|l| format!("- {l}\n")).collect() };
    format!("**命令**\n\n{}\n**Commands**\n\n{}", list(HELP_CHINESE), list(HELP_ENGLISH))
}

/// What is said to a text that is too long to be kept.
fn too_long(text: &str, language: Language) -> Option<String> {
    (text.chars().count() > MAX_STATEMENT_CHARS).then(|| match language {
        Language::Chinese => format!("太长了，一条最多 {MAX_STATEMENT_CHARS} 字，请分开记。"),
        Language::English => format!(
            "That is too long: at most {MAX_STATEMENT_CHARS} characters are kept in one. Please \
             split it."
        ),
    })
}

/// An interval in the units people use: `1 天`, `1 小时 30 分钟`, `90 秒` never.
fn spoken(interval: Duration, language: Language) -> String {
    let units = [
        (86_400, "天", "day"),
        (3_600, "小时", "hour"),
        (60, "分钟", "minute"),
        (1, "秒", "second"),
    ];
    let mut left = interval.as_secs();
    let mut parts = Vec::new();
    for (length, chinese, english) in units {
        let count = left / length;
        left %= length;
        if count > 0 {
            parts.push(match language {
                Language::Chinese => format!("{count} {chinese}"),
                Language::English if count == 1 => format!("1 {english}"),
                Language::English => format!("{count} {english}s"),
            });
        }
    }
    parts.join(" ")
}

fn explain(usage: Usage, language: Language) -> &'static str {
    match usage {
        Usage::RememberNothing => language.pick(
            "要记住什么？例如：/remember 我对花生过敏，或 /remember 30m 喝水",
            "Remember what? For example: /remember I am allergic to peanuts, or \
             /remember 30m drink water",
        ),
        Usage::Interval => language.pick(
            "间隔要写成秒数或 30m、2h、1d 这样，从 1 秒到 366 天，到点会反复提醒，例如：\
             /remember 30m 喝水。只提醒一次的还不支持。",
            "The interval is a number of seconds or such as 30m, 2h or 1d, from 1 second to 366 \
             days, and the reminder repeats: /remember 30m drink water. One that comes only once \
             is not supported yet.",
        ),
        Usage::ForgetWhat => language.pick(
            "要忘记哪一条？例如：/forget 3（编号见 /memories），或 /forget all",
            "Forget which one? For example: /forget 3 (see /memories), or /forget all",
        ),
    }
}

fn unknown(nearest: Option<&str>, language: Language) -> String {
    match (nearest, language) {
        (Some(nearest), Language::Chinese) => {
            format!("没有这个命令，是不是 {nearest}？全部命令见 /help。")
        }
        (Some(nearest), Language::English) => {
            format!("There is no such command. Did you mean {nearest}? See /help for all.")
        }
        (None, Language::Chinese) => "没有这个命令，全部命令见 /help。".to_owned(),
        (None, Language::English) => "There is no such command. See /help for all.".to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_said_in_the_units_people_use() {
        let said = |seconds, language| spoken(Duration::from_secs(seconds), language);
        assert_eq!(said(31 * 86_400, Language::Chinese), "31 天");
        assert_eq!(said(5_400, Language::Chinese), "1 小时 30 分钟");
        assert_eq!(said(90, Language::English), "1 minute 30 seconds");
        assert_eq!(said(2, Language::English), "2 seconds");
    }
}
