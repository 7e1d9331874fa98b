//! The chat commands, in both languages.

use crate::support::stage::Stage;

/// What the bot says to `text` of this person.
async fn say(stage: &Stage, staff: &str, text: &str) -> String {
    stage.daemon.says(stage.dingtalk.callback().from(staff).text(text)).await
}

/// The number by which the line with `part` in it is called.
fn id_of(list: &str, part: &str) -> String {
    let line = list.lines().find(|line| line.contains(part));
    let line = line.unwrap_or_else(|| panic!("no {part:?} in {list:?}"));
    let digits = line.chars().skip_while(|c| !c.is_ascii_digit());
    digits.take_while(char::is_ascii_digit).collect()
}

#[tokio::test]
async fn help_names_every_command() {
    let stage = Stage::new().await;
    for help in ["/help", "/帮助", " /HELP "] {
        let answer = say(&stage, "ann", help).await;
        for command in ["/help", "/ping", "/time", "/remember", "/memories", "/forget", "/new"] {
            assert!(answer.contains(command), "{help}: {answer}");
        }
    }
    assert!(stage.model.asked().is_empty());
}

#[tokio::test]
async fn ping_and_time() {
    let stage = Stage::new().await;
    assert_eq!(say(&stage, "ann", "/ping").await.trim(), "pong");
    let now = jiff::Zoned::now().in_tz("Asia/Shanghai").unwrap();
    let time = say(&stage, "ann", "/time").await;
    // The year of the configured zone; the test may run across a second, not across years.
    assert!(time.contains(&now.year().to_string()), "{time}");
    assert!(stage.model.asked().is_empty());
}

#[tokio::test]
async fn what_is_remembered_is_listed_found_and_forgotten() {
    let stage = Stage::new().await;
    say(&stage, "ann", "/remember I drink green tea").await;
    say(&stage, "ann", "/remember My brother lives in Hamburg").await;
    let all = say(&stage, "ann", "/memories").await;
    assert!(all.contains("green tea") && all.contains("Hamburg"), "{all}");
    let found = say(&stage, "ann", "/memories tea").await;
    assert!(found.contains("green tea") && !found.contains("Hamburg"), "{found}");

    say(&stage, "ann", &format!("/forget {}", id_of(&all, "green tea"))).await;
    let left = say(&stage, "ann", "/memories").await;
    assert!(!left.contains("green tea") && left.contains("Hamburg"), "{left}");
}

#[tokio::test]
async fn chinese_aliases_do_the_same() {
    let stage = Stage::new().await;
    say(&stage, "小明", "/记住 我喜欢喝美式咖啡").await;
    say(&stage, "小明", "/记住 周五要去杭州出差").await;
    let all = say(&stage, "小明", "/记忆").await;
    assert!(all.contains("美式咖啡") && all.contains("杭州"), "{all}");
    let found = say(&stage, "小明", "/记忆 咖啡").await;
    assert!(found.contains("美式咖啡") && !found.contains("杭州"), "{found}");
    say(&stage, "小明", &format!("/忘记 {}", id_of(&all, "美式咖啡"))).await;
    let left = say(&stage, "小明", "/记忆").await;
    assert!(!left.contains("美式咖啡") && left.contains("杭州"), "{left}");
    assert!(stage.model.asked().is_empty());
}

#[tokio::test]
async fn nobody_sees_or_forgets_what_is_another_s() {
    let stage = Stage::new().await;
    say(&stage, "ann", "/remember My locker is number 4711").await;
    let own = id_of(&say(&stage, "ann", "/memories").await, "4711");
    assert!(!say(&stage, "bob", "/memories").await.contains("4711"));
    assert!(!say(&stage, "bob", "/memories locker").await.contains("4711"));
    say(&stage, "bob", &format!("/forget {own}")).await;
    assert!(say(&stage, "ann", "/memories").await.contains("4711"));
}

#[tokio::test]
async fn forget_all_asks_back() {
    let stage = Stage::new().await;
    say(&stage, "ann", "/remember I collect stamps").await;
    let question = say(&stage, "ann", "/forget all").await;
    assert!(!question.trim().is_empty());
    assert!(say(&stage, "ann", "/memories").await.contains("stamps"), "nothing is forgotten yet");
}

#[tokio::test]
async fn new_forgets_the_conversation_and_keeps_the_memories() {
    let stage = Stage::new().await;
    say(&stage, "ann", "/remember I collect stamps").await;
    say(&stage, "ann", "Tell me about the weather in Lisbon").await;
    say(&stage, "ann", "/new").await;
    say(&stage, "ann", "What stamps do I collect?").await;
    let prompt = stage.model.wait_for_question("stamps do I collect").await.prompt();
    assert!(prompt.contains("I collect stamps"), "{prompt}");
    // The statement about Lisbon may be a memory; the turn with its answer must be gone.
    assert!(!prompt.contains("echo:"), "{prompt}");
}

#[tokio::test]
async fn a_command_in_a_group_is_answered_there() {
    let stage = Stage::new().await;
    stage.daemon.accepts(stage.dingtalk.callback().from("ann").group("team").text(" /ping")).await;
    let message = stage.dingtalk.wait_for_text("pong").await;
    assert_eq!(message.conversation(), crate::support::dingtalk::conversation_id("team"));
}

#[tokio::test]
async fn an_unknown_command_or_a_wrong_argument_is_explained() {
    let stage = Stage::new().await;
    for text in ["/remember", "/forget", "/forget abc", "/forget 999999"] {
        assert!(!say(&stage, "ann", text).await.trim().is_empty(), "{text}");
    }
    assert!(stage.model.asked().is_empty());
}
