//! Another port.

use super::container::Container;
use super::engine::private;
use super::on_the_host;
use crate::support::http::{self, Answer};

async fn health_is_served_at_8888() {
    let answer = http::client().get(private(8888, "/health")).send().await.unwrap();
    assert_eq!(Answer::of(answer).await.status, 200);
}

#[test]
fn another_port_of_the_host() {
    on_the_host(|docker| async move {
        let options = ["-p", "8888:8080", "-e", "OPENAI_API_KEY=sk-not-asked"];
        let bot = Container::run(&docker, "dingbot-8888", &options).await;
        bot.is_ready().await;
        health_is_served_at_8888().await;
    });
}

#[test]
fn another_port_of_the_container() {
    on_the_host(|docker| async move {
        let options = ["-e", "PORT=8888", "-p", "8888:8888"];
        let bot = Container::run(&docker, "dingbot-port", &options).await;
        // The check of its health must ask there, too.
        bot.becomes_healthy().await;
        health_is_served_at_8888().await;
        assert_eq!(bot.logs("ready").await["listen"], "[::]:8888");
    });
}
