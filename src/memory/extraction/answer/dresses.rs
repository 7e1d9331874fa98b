//! The same answer in every dress, and cut off anywhere.

use serde_json::Value;

use super::{read, tidy};

/// Ways in which models dress the JSON they were asked for.
fn dressed(texts: &[String], dress: u8) -> String {
    let asked: Vec<Value> =
        texts.iter().map(|t| serde_json::json!({"text": t, "supersedes": []})).collect();
    let plain = serde_json::json!({ "memories": asked }).to_string();
    // As Python shows a text: in double quotes only if it has single ones.
    let python = |text: &String| match text.contains('\'') {
        true => format!("\"{}\"", text.replace('"', "\\\"")),
        false => format!("'{text}'"),
    };
    let quoted = |open: &str, close: &str| {
        let list: Vec<String> = texts.iter().map(|t| format!("{open}{t}{close}")).collect();
        list.join(", ")
    };
    match dress {
        0 => plain,
        1 => format!("Here it is:\n```json\n{plain}\n```\nAnything {{else}}?"),
        2 => format!("<thinking>[hm] {{\"memories\": []}}</thinking>{plain}"),
        3 => plain.replace("[]}", "[],},"),
        4 => serde_json::to_string_pretty(&texts).unwrap(),
        5 => format!("{{'facts': [{}]}}", texts.iter().map(python).collect::<Vec<_>>().join(", ")),
        6 => format!("{{“memories”：[{}]}}", quoted("“", "”")),
        7 => format!("{{\"memories\": [{}]}}", quoted("\"", "\"")),
        8 => serde_json::to_string(&plain).unwrap(),
        _ => plain.replace("\"text\"", "text").replace("\"memories\"", "memories"),
    }
}

proptest::proptest! {
    #[test]
    fn the_dress_does_not_matter(
        texts in proptest::collection::hash_set("[我在杭州a-z]{3,8}([a-z我 ]|\"[a-z好]{1,3}\"|，我|'s |[0-9]){0,8}[a-z好。]", 1..5),
        dress in 0u8..10,
    ) {
        let texts: Vec<String> = texts.into_iter().map(|text| tidy(&text)).collect();
        // Not escaped, these are two texts without a comma.
        proptest::prop_assume!(dress != 7 || !texts.iter().any(|t| t.contains("\" \"")));
        let answer = dressed(&texts, dress);
        let read: Vec<String> =
            read(&answer).unwrap().statements.into_iter().map(|s| s.text).collect();
        proptest::prop_assert_eq!(read, texts, "{}", answer);
    }

    #[test]
    fn an_answer_cut_anywhere_gives_no_half_statement(
        texts in proptest::collection::hash_set("[我在杭州a-z]{3,8}[a-z我，\"{} ]{0,12}[a-z好。]", 1..5),
        dress in 0u8..5,
        at in 0usize..600,
    ) {
        let texts: Vec<String> = texts.into_iter().map(|text| tidy(&text)).collect();
        let answer: String = dressed(&texts, dress).chars().take(at).collect();
        if let Ok(reading) = read(&answer) {
            let read: Vec<String> = reading.statements.into_iter().map(|s| s.text).collect();
            proptest::prop_assert!(texts.starts_with(&read), "{answer}: {read:?}");
        }
    }
}
