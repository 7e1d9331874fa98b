//! The data: where it is, what it outlives, and what is said when it cannot be written.

use std::os::unix::fs::chown;

use super::container::Container;
use super::on_the_host;

/// Says this to the bot from inside, where no signature is asked for; its answer.
async fn say(bot: &Container, text: &str) -> String {
    let body = format!(r#"{{"msgtype":"text","text":{{"content":"{text}"}},"senderId":"u1"}}"#);
    bot.sh(&format!(
        "wget -q -O - --header 'Content-Type: application/json' --post-data '{body}' \
         http://127.0.0.1:8080/webhook"
    ))
    .await
}

#[test]
fn memories_outlive_the_container() {
    on_the_host(|docker| async move {
        docker.docker(&["volume", "create", "kept"]).await;
        let first = Container::run(&docker, "dingbot-first", &["-v", "kept:/data"]).await;
        first.is_ready().await;
        say(&first, "/remember 我养了一只叫咪咪的猫").await;
        first.remove().await;

        let second = Container::run(&docker, "dingbot-second", &["-v", "kept:/data"]).await;
        second.is_ready().await;
        let found = say(&second, "/memories").await;
        assert!(found.contains("咪咪"), "{found}");
        second.remove().await;
        docker.docker(&["volume", "rm", "kept"]).await;
    });
}

#[test]
fn a_folder_of_the_host_that_it_may_not_write_is_told() {
    on_the_host(|docker| async move {
        let folder = tempfile::tempdir().unwrap();
        let mount = format!("{}:/data", folder.path().display());
        let output = docker.try_docker(&["run", "--rm", "-v", &mount, super::engine::IMAGE]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        for part in ["cannot write the store /data/dingbot.db", "Permission denied", "uid 65532"] {
            assert!(said.contains(part), "{said}");
        }

        // What the message says to do.
        chown(folder.path(), Some(65532), Some(65532)).unwrap();
        let bot = Container::run(&docker, "dingbot-mount", &["-v", &mount]).await;
        bot.is_ready().await;
        assert!(folder.path().join("dingbot.db").exists());
    });
}

#[test]
fn nothing_but_the_data_is_written() {
    on_the_host(|docker| async move {
        let options = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
        let bot = Container::run(&docker, "dingbot-sealed", &options).await;
        bot.is_ready().await;
        say(&bot, "/remember 我养了一只叫咪咪的猫").await;
        assert!(say(&bot, "/memories").await.contains("咪咪"));
        let changed = docker.docker(&["diff", bot.name()]).await;
        assert_eq!(changed, "", "outside of /data");
        assert_eq!(bot.sh("touch /etc/x /tmp/x 2>/dev/null || echo refused").await, "refused");
        // The first process is the program itself, and it has no children, so no zombies either.
        let first = bot.sh("tr '\\0' ' ' < /proc/1/cmdline").await;
        assert_eq!(first.trim(), "/usr/bin/dingbot serve");
        assert_eq!(bot.sh("cat /proc/1/task/*/children").await.trim(), "");
        let (code, _) = bot.stop().await;
        assert_eq!(code, "0");
    });
}
