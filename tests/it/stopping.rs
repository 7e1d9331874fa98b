//! Starting and stopping.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::http::{self, Answer};
use crate::support::model::Reply;
use crate::support::settings::Settings;
use crate::support::stage::Stage;

/// Tells the daemon to stop once the model was asked, and waits until it has heard.
async fn stop_while_asked(stage: &Stage) {
    stage.model.wait_for_question("wait for me").await;
    let written = stage.daemon.log().len();
    stage.daemon.sigterm();
    let heard = stage.daemon.log().find(written, PATIENCE, |_| Some(())).await;
    assert!(heard.is_some(), "the daemon says that it is stopping");
}

#[tokio::test]
async fn a_request_being_answered_when_the_daemon_stops_is_answered() {
    let mut stage = Stage::new().await;
    stage.model.answer_always(Reply::text("just in time"));
    stage.model.hold();
    let callback = stage.dingtalk.callback().without_session().text("wait for me").build();
    let asking = stage.daemon.try_post(&callback);
    let stopping = async {
        stop_while_asked(&stage).await;
        stage.model.release();
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.trim()), (200, "just in time"));
    let status = stage.daemon.wait_exit().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test]
async fn who_asks_while_it_stops_hears_so() {
    let mut stage = Stage::new().await;
    stage.model.hold();
    let callback = stage.dingtalk.callback().without_session().text("wait for me").build();
    let asking = stage.daemon.try_post(&callback);
    let stopping = async {
        stop_while_asked(&stage).await;
        // On a connection of its own, as a load balancer asks.
        let answer =
            Answer::of(http::client().get(stage.daemon.url("/health")).send().await.unwrap());
        let answer = answer.await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.json()["status"], "error");
        assert_eq!(answer.header("connection"), "close");
        stage.model.release();
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(stage.daemon.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_caller_on_the_line_hears_that_there_is_no_answer() {
    let mut stage = Stage::with(|settings| settings.text("server.drain_timeout", "1s")).await;
    stage.model.hold();
    let callback = stage.dingtalk.callback().without_session().text("wait for me").build();
    let asking = stage.daemon.try_post(&callback);
    let stopping = async {
        stage.model.wait_for_question("wait for me").await;
        stage.daemon.sigterm();
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    let message = answer.unwrap().error(503);
    assert!(message.contains("kept"), "{message}");
    assert_eq!(stage.daemon.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn an_accepted_message_is_answered_before_the_daemon_ends() {
    let mut stage = Stage::new().await;
    stage.model.hold();
    stage.daemon.accepts(stage.dingtalk.callback().text("wait for me")).await;
    stage.model.wait_for_question("wait for me").await;
    stage.daemon.sigterm();
    stage.model.release();
    assert_eq!(stage.daemon.wait_exit().await.code(), Some(0));
    // Whether before the end or after the next start: once.
    stage.daemon.restart().await;
    stage.dingtalk.wait_for_text("wait for me").await;
    stage.daemon.accepts(stage.dingtalk.callback().text("the next one")).await;
    stage.dingtalk.wait_for_text("the next one").await;
    assert_eq!(stage.dingtalk.messages().len(), 2);
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut stage = Stage::new().await;
    stage.model.hold();
    let callback = stage.dingtalk.callback().without_session().text("wait for me").build();
    let asking = stage.daemon.try_post(&callback);
    let stopping = async {
        stop_while_asked(&stage).await;
        stage.daemon.sigterm();
        Instant::now()
    };
    let (answer, since) = tokio::join!(asking, stopping);
    assert!(answer.is_err(), "{answer:?}");
    stage.daemon.wait_exit().await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

#[tokio::test]
async fn an_idle_daemon_stops_quickly_and_cleanly() {
    let mut stage = Stage::new().await;
    // A kept-alive connection without a request must not hold up the end.
    assert_eq!(stage.daemon.get("/health").await.status, 200);
    let started = Instant::now();
    stage.daemon.sigterm();
    assert_eq!(stage.daemon.wait_exit().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn bad_settings_are_told_all_at_once_with_exit_78() {
    let settings = Settings::bare().set("server.max_connektions", "5").text("llm.timeout", "soon");
    let (status, log) = Daemon::start_and_fail(settings).await;
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("max_connektions") && log.contains("max_connections"), "{log}");
    assert!(log.contains("timeout"), "{log}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, log) = Daemon::start_and_fail(Settings::bare().listen(&address)).await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains(&address), "{log}");
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_told_in_a_sentence_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "this is no database, and never was one\n".repeat(500)).unwrap();
    let newer = folder.path().join("newer.db");
    let written = rusqlite::Connection::open(&newer).unwrap();
    written
        .execute_batch(
            "CREATE TABLE t (x); PRAGMA user_version = 99; PRAGMA application_id = 1684172660",
        )
        .unwrap();
    written.close().unwrap();
    let below_a_file = garbage.join("dingbot.db");
    let cases = [
        (&garbage, "is not a dingbot store or is damaged"),
        (&newer, "was written by a newer dingbot"),
        (&below_a_file, "cannot write the store"),
        (&folder.path().to_owned(), "is not a regular file"),
    ];
    for (path, sentence) in cases {
        let before = std::fs::read(path).ok();
        let url = format!("sqlite://{}", path.display());
        let (status, said) = Daemon::start_and_fail(Settings::bare().text("store.url", &url)).await;
        assert_eq!(status.code(), Some(1), "{said}");
        assert_eq!(said.matches(sentence).count(), 1, "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        assert_eq!(std::fs::read(path).ok(), before, "{} was changed", path.display());
    }
}

#[tokio::test]
async fn a_second_start_on_the_same_store_is_refused() {
    let first = Daemon::start(Settings::bare()).await;
    let url = format!("sqlite://{}", first.state_directory().join("dingbot.db").display());
    let (status, said) = Daemon::start_and_fail(Settings::bare().text("store.url", &url)).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("another dingbot (process {})", first.pid())), "{said}");
    assert_eq!(first.get("/health").await.status, 200);
}
