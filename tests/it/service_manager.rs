//! What a service manager is told, and the sockets it hands over: systemd's protocols, spoken by
//! the test itself.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::service_manager::ServiceManager;
use crate::support::settings::Settings;
use crate::support::stage::Stage;

#[tokio::test]
async fn it_tells_when_it_is_ready_reloads_and_stops() {
    let manager = ServiceManager::listen();
    let mut daemon = Daemon::start(manager.manages(Settings::bare())).await;
    let (at, ready) = manager.hears(0, "READY=1").await;
    assert!(ready.contains(&format!("STATUS=listening on {}", daemon.address())), "{ready}");
    assert!(ready.contains("0 waiting in the inbox"), "{ready}");

    daemon.command(&["reload"]).await;
    let (at, reloading) = manager.hears(at, "RELOADING=1").await;
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    let (at, _) = manager.hears(at, "READY=1").await;

    daemon.sigterm();
    let (at, _) = manager.hears(at, "STOPPING=1").await;
    manager.hears(at, "EXTEND_TIMEOUT_USEC=").await;
    assert_eq!(daemon.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_watchdog_is_fed_while_everything_moves_and_not_while_the_store_hangs() {
    let manager = ServiceManager::listen();
    // Fed three times a second.
    let settings = |settings| manager.manages(settings).variable("WATCHDOG_USEC", "1000000");
    let stage = Stage::with(settings).await;
    let mut at = 0;
    for _ in 0..3 {
        (at, _) = manager.hears(at, "WATCHDOG=1").await;
    }
    let file = stage.daemon.state_directory().join("dingbot.db");
    let other = Connection::open(file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = stage.dingtalk.callback().from("ann").text("wait for it").build();
    let (posted, ()) = tokio::join!(stage.daemon.post_callback(&held), async {
        let stuck = |line: &String| line.contains("no progress").then(|| line.clone());
        let line = stage.daemon.log().find(0, PATIENCE, stuck).await.unwrap();
        assert!(line.contains("store"), "{line}");
        let told = manager.told.len();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let since =
            manager.told.with(|all| all[told..].iter().filter(|d| d.contains("WATCHDOG")).count());
        assert_eq!(since, 0, "fed while the store hung");
        other.execute_batch("ROLLBACK").unwrap();
    });
    assert_eq!(posted.status, 200);
    manager.hears(manager.told.len(), "WATCHDOG=1").await;
}

#[tokio::test]
async fn the_status_tells_what_is_wrong() {
    let manager = ServiceManager::listen();
    let stage = Stage::with(|settings| manager.manages(settings)).await;
    stage.dingtalk.fail_next(
        crate::support::dingtalk::Api::Session,
        // The status is told now and then, and one attempt may succeed before.
        5,
        crate::support::dingtalk::Fault::ServerError,
    );
    stage.daemon.accepts(stage.dingtalk.callback().from("ann").text("hello")).await;
    let unwell =
        |all: &[String]| all.iter().any(|d| d.contains("STATUS=") && d.contains("; dingtalk: "));
    manager.told.wait_for(unwell, PATIENCE).await;
}

/// A listening socket, as a socket unit has it.
fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_used_in_place_of_its_own() {
    let (socket, address) = socket();
    // As a unit has it: no --listen, so the configured port must not matter.
    let daemon = Daemon::start(Settings::bare().socket(socket)).await;
    assert_eq!(daemon.address(), address);
    assert_eq!(daemon.get("/health").await.status, 200);
}

/// What a load of requests came to.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    failed: AtomicUsize,
    stop: AtomicBool,
}

/// Asks until told to stop, on one kept connection or on a new one each time.
async fn ask_on_and_on(url: String, keep: bool, tally: Arc<Tally>) {
    let mut client = http::client();
    while !tally.stop.load(Ordering::Relaxed) {
        if !keep {
            client = http::client();
        }
        match client.get(&url).send().await {
            Ok(response) if response.status() == 200 => {
                response.bytes().await.unwrap();
                tally.answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(response) => {
                eprintln!("answered {}", response.status());
                tally.failed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                eprintln!("{error:?}");
                tally.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[tokio::test]
async fn twenty_restarts_under_load_fail_no_request() {
    const RESTARTS: usize = 20;
    let (socket, address) = socket();
    let mut daemon = Daemon::start(Settings::bare().socket(socket)).await;
    let tally = Arc::new(Tally::default());
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let url = format!("http://{address}/");
            tokio::spawn(ask_on_and_on(url, caller % 2 == 0, Arc::clone(&tally)))
        })
        .collect();
    for _ in 0..RESTARTS {
        let before = tally.answered.load(Ordering::Relaxed);
        daemon.restart().await;
        let goes_on = async {
            while tally.answered.load(Ordering::Relaxed) < before + 50 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, goes_on).await.expect("requests are answered again");
    }
    tally.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let (answered, failed) =
        (tally.answered.load(Ordering::Relaxed), tally.failed.load(Ordering::Relaxed));
    println!("{RESTARTS} restarts: {answered} requests answered, {failed} failed");
    assert_eq!(failed, 0);
}
