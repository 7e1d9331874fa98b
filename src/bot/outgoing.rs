//! What waits in the outbox: a message, whom it mentions, and the ways it may take.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::message::Message;
use super::origin::Origin;
use super::responder::Answer;
use crate::dingtalk::{DingTalk, Mention, markdown};
use crate::store::{NewDelivery, Reminder};

/// The custom robot that reminders go through.
const PUSH_ROBOT: &str = "default";
/// Lanes of pushes begin with this: what waits in one may be merged.
const PUSH_LANE: &str = "push:";

/// One way to deliver a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The session webhook of the message that is answered.
    Session {
        /// The address; it was checked when the message came, and is checked again.
        url: String,
        /// When it ends, in milliseconds since the Unix epoch.
        expires_at_millis: Option<i64>,
    },
    /// To one person, through the OpenAPI.
    User {
        /// The robot; `None`: the configured one.
        robot_code: Option<String>,
        /// The person.
        staff_id: String,
    },
    /// To a group, through the OpenAPI.
    Group {
        /// The robot; `None`: the configured one.
        robot_code: Option<String>,
        /// The group.
        conversation_id: String,
    },
    /// To the group of a custom robot.
    GroupRobot {
        /// Its name in the settings.
        name: String,
    },
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Shown in the list of conversations.
    pub title: String,
    /// Markdown.
    pub text: String,
    /// Who is mentioned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mention: Vec<Mention>,
    /// The ways it may take, best first.
    pub routes: Vec<Route>,
    /// For an answer: when the question came, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<i64>,
    /// For an answer: the message it answers, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// For a message of alerts: how many it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Tally>,
}

/// How many alerts a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Those that fire.
    pub firing: usize,
    /// Those that are over.
    pub resolved: usize,
}

/// Where a push goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushTarget {
    lane: String,
    routes: Vec<Route>,
    mention: Vec<Mention>,
}

impl PushTarget {
    /// Whether it goes to a group in which it was not asked for.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.routes.first(), Some(Route::GroupRobot { .. }))
    }

    /// As a reminder keeps it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings only: always JSON")
    }
}

/// Whether what waits in a lane may be merged into one message.
pub(super) fn is_mergeable(lane: &str) -> bool {
    lane.starts_with(PUSH_LANE)
}

/// The deliveries that bring an answer: one for each part of it. None, if a caller waits for the
/// answer on the line or there is nowhere to send it.
pub(super) fn answer(message: &Message, answer: &Answer, asked_at: i64) -> Vec<NewDelivery> {
    let callback = &message.callback;
    let Some(session) = callback.session_webhook.as_ref() else { return Vec::new() };
    if answer.text.trim().is_empty() {
        return Vec::new();
    }
    let mut routes = vec![Route::Session {
        url: session.url.clone(),
        expires_at_millis: session.expires_at_millis,
    }];
    routes.extend(openapi_route(message));
    let text = markdown::fit(&answer.text);
    let title = markdown::title(&text);
    let lane = format!("reply:{}", message.conversation());
    let parts = markdown::split(&text, markdown::PART_BYTES);
    let last = parts.len().saturating_sub(1);
    parts
        .into_iter()
        .enumerate()
        .map(|(part, text)| {
            let outgoing = Outgoing {
                title: title.clone(),
                text,
                // Once is enough to be noticed.
                mention: if part == 0 { mention(message) } else { Vec::new() },
                routes: routes.clone(),
                // An answer is there when all of it is.
                asked_at: (part == last).then_some(asked_at),
                origin: Some(message.origin()),
                alerts: None,
            };
            delivery(lane.clone(), &outgoing, None, asked_at)
        })
        .collect()
}

/// Where pushes for this message's sender go: where they were asked for, if the OpenAPI is
/// configured; else to the group of the custom robot. `None`: nowhere.
pub(super) fn push_target(message: &Message, dingtalk: &DingTalk) -> Option<PushTarget> {
    let robot = dingtalk
        .has_group_robot(PUSH_ROBOT)
        .then(|| Route::GroupRobot { name: PUSH_ROBOT.to_owned() });
    let openapi = if dingtalk.has_openapi() { openapi_route(message) } else { None };
    // One way and no other: what was meant for one place is not shown in another when that fails.
    let (lane, route) = match (openapi, robot) {
        (Some(user @ Route::User { .. }), _) => {
            (format!("{PUSH_LANE}user:{}", message.user_id()?), user)
        }
        (Some(group), _) => (format!("{PUSH_LANE}group:{}", message.conversation()), group),
        (None, Some(robot)) => (robot_lane(PUSH_ROBOT), robot),
        (None, None) => return None,
    };
    Some(PushTarget { lane, routes: vec![route], mention: staff_mention(message) })
}

/// The delivery of a reminder.
pub(super) fn reminder(reminder: &Reminder, now: i64) -> Option<NewDelivery> {
    let target: PushTarget = serde_json::from_str(&reminder.target).ok()?;
    let text = markdown::fit(&reminder.text);
    let outgoing = Outgoing {
        title: format!("⏰ {}", markdown::title(&text)),
        text: format!("⏰ {text}"),
        mention: target.mention,
        routes: target.routes,
        asked_at: None,
        origin: None,
        alerts: None,
    };
    let merge_key = Some(format!("reminder:{}", reminder.id));
    Some(delivery(target.lane, &outgoing, merge_key, now))
}

/// The delivery of alerts to the group of a custom robot, in one lane with the reminders that go
/// there: its limit is one.
///
/// It merges with no earlier one: between two that say the same, something else may have been said.
pub(super) fn alerts(
    robot: &str,
    (title, text): (String, String),
    mention: Vec<Mention>,
    tally: Tally,
    now: i64,
) -> NewDelivery {
    let outgoing = Outgoing {
        title,
        text,
        mention,
        routes: vec![Route::GroupRobot { name: robot.to_owned() }],
        asked_at: None,
        origin: None,
        alerts: Some(tally),
    };
    delivery(robot_lane(robot), &outgoing, None, now)
}

/// The lane of what is pushed by a custom robot.
fn robot_lane(robot: &str) -> String {
    format!("{PUSH_LANE}robot:{robot}")
}

/// Several messages as one, `occurrences` of each; a single one is left as it is.
pub(super) fn merged(parts: Vec<(Outgoing, u32)>) -> Option<Outgoing> {
    let title = (parts.len() > 1).then(|| merged_title(&parts));
    let mut parts = parts.into_iter();
    let (mut merged, occurrences) = parts.next()?;
    merged.text = repeated(&merged.text, occurrences);
    merged.title = title.unwrap_or(merged.title);
    for (part, occurrences) in parts {
        // A line of its own each: DingTalk joins lines that no blank line parts.
        merged.text.push_str("\n\n");
        merged.text.push_str(&repeated(&part.text, occurrences));
        for mention in part.mention {
            if !merged.mention.contains(&mention) {
                merged.mention.push(mention);
            }
        }
    }
    Some(merged)
}

/// What the list of chats shows of several pushes.
fn merged_title(parts: &[(Outgoing, u32)]) -> String {
    let tallies: Vec<Tally> = parts.iter().filter_map(|(part, _)| part.alerts).collect();
    let reminders = parts.len() - tallies.len();
    let firing: usize = tallies.iter().map(|tally| tally.firing).sum();
    let resolved: usize = tallies.iter().map(|tally| tally.resolved).sum();
    let mut said = Vec::new();
    if firing > 0 {
        said.push(format!("🔥 告警 {firing}"));
    }
    if resolved > 0 {
        said.push(format!("✅ 恢复 {resolved}"));
    }
    if reminders > 0 {
        said.push(format!("⏰ {reminders} 条提醒"));
    }
    let kind = match (tallies.is_empty(), reminders) {
        (true, _) => "reminders",
        (false, 0) => "alerts",
        (false, _) => "alerts, reminders",
    };
    format!("{} ({kind})", said.join("，"))
}

fn repeated(text: &str, occurrences: u32) -> String {
    if occurrences > 1 { format!("{text}（×{occurrences}）") } else { text.to_owned() }
}

fn delivery(
    lane: String,
    outgoing: &Outgoing,
    merge_key: Option<String>,
    created_at: i64,
) -> NewDelivery {
    NewDelivery {
        lane,
        uuid: Uuid::new_v4().to_string(),
        payload: serde_json::to_string(outgoing).expect("strings and numbers only: always JSON"),
        merge_key,
        created_at,
    }
}

/// The way to the sender that stays open when a session has ended.
fn openapi_route(message: &Message) -> Option<Route> {
    let callback = &message.callback;
    // Robots with an outgoing address of their own all say "normal", which is nobody's code.
    let robot_code = callback.robot_code.clone().filter(|code| code != "normal");
    if message.in_group() {
        let conversation_id = callback.conversation.id.clone()?;
        return Some(Route::Group { robot_code, conversation_id });
    }
    Some(Route::User { robot_code, staff_id: callback.sender.staff_id.clone()? })
}

/// In a group the asker is mentioned, so that they notice.
fn mention(message: &Message) -> Vec<Mention> {
    let sender = &message.callback.sender;
    let mention = match (&sender.staff_id, &sender.sender_id) {
        _ if !message.in_group() => None,
        (Some(staff_id), _) => Some(Mention::User(staff_id.clone())),
        (None, Some(sender_id)) => Some(Mention::Sender(sender_id.clone())),
        (None, None) => None,
    };
    mention.into_iter().collect()
}

/// A custom robot mentions people by their staff id only.
fn staff_mention(message: &Message) -> Vec<Mention> {
    message.callback.sender.staff_id.clone().map(Mention::User).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(text: &str, staff_id: &str) -> Outgoing {
        Outgoing {
            title: text.into(),
            text: text.into(),
            mention: vec![Mention::User(staff_id.into())],
            routes: vec![Route::GroupRobot { name: "default".into() }],
            asked_at: None,
            origin: None,
            alerts: None,
        }
    }

    fn alerts(firing: usize, resolved: usize) -> Outgoing {
        Outgoing { alerts: Some(Tally { firing, resolved }), ..push("告警", "u9") }
    }

    #[test]
    fn one_push_is_left_as_it_is() {
        let one = push("⏰ 喝水", "u1");
        assert_eq!(merged(vec![(one.clone(), 1)]), Some(one));
        assert_eq!(merged(Vec::new()), None);
    }

    #[test]
    fn several_become_one_with_everyone_mentioned_once() {
        let parts =
            vec![(push("喝水", "u1"), 3), (push("开会", "u2"), 1), (push("站起来", "u1"), 1)];
        let merged = merged(parts).unwrap();
        assert_eq!(merged.text, "喝水（×3）\n\n开会\n\n站起来");
        assert_eq!(merged.mention, [Mention::User("u1".into()), Mention::User("u2".into())]);
        assert_eq!(merged.title, "⏰ 3 条提醒 (reminders)");
    }

    #[test]
    fn the_title_of_several_says_what_they_are() {
        let title = |parts: Vec<Outgoing>| {
            merged(parts.into_iter().map(|part| (part, 1)).collect()).unwrap().title
        };
        assert_eq!(title(vec![alerts(2, 0), alerts(1, 1)]), "🔥 告警 3，✅ 恢复 1 (alerts)");
        assert_eq!(title(vec![alerts(0, 1), alerts(0, 1)]), "✅ 恢复 2 (alerts)");
        assert_eq!(
            title(vec![push("喝水", "u1"), alerts(1, 0)]),
            "🔥 告警 1，⏰ 1 条提醒 (alerts, reminders)"
        );
    }
}
