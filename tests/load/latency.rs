//! What the bot adds: the time from a callback's first byte to the model being asked.
//!
//! In it: HTTP, the signature, the message on disk, recall, the prompt, the request to the model.
//! The peer is the way without the bot: the same client asks the same model itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::caller::{self, Caller};
use crate::disk;
use crate::statistics::{median, millis, quantile};
use crate::support::PATIENCE;
use crate::support::model::{self, Reply};
use crate::support::stage::Stage;
use crate::table::{Row, Table, Target};

/// Callbacks at a low rate, and the time from one to the next.
const SPARSE: (usize, Duration) = (500, Duration::from_millis(50));
/// People who talk at once, and what each says, waiting for every answer.
const CROWD: (usize, usize) = (64, 30);

/// Who waits for the model to be asked something.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Instant>>>>;

pub(crate) async fn measure(table: &mut Table) {
    let stage = Arc::new(Stage::new().await);
    let waiting = Waiting::default();
    let asked = Arc::clone(&waiting);
    stage.model.answer_by(move |request| {
        let question = request.question();
        // `… token7 …`: the one word that names the message.
        let token = question.split_whitespace().find(|word| word.starts_with("token"));
        let waiter = token.and_then(|token| asked.lock().unwrap().remove(token));
        if let Some(waiter) = waiter {
            let _ = waiter.send(request.at);
        }
        Reply::text(format!("answer to {}", token.unwrap_or_default()))
    });
    let address = stage.daemon.address();

    let (direct, sparse) = sparsely(&stage, &waiting).await;
    let direct = [0.5, 0.99].map(|q| quantile(&direct, q));
    for (name, q, direct) in [("p50", 0.5, direct[0]), ("p99", 0.99, direct[1])] {
        table.add(Row {
            measurement: format!("callback to the model's request, 20/s, {name}"),
            unit: "ms",
            dingbot: quantile(&sparse, q),
            peer: Some(("asking the model directly".into(), direct)),
            target: Target::None,
        });
    }

    let (people, messages) = CROWD;
    let tasks: Vec<_> = (0..people)
        .map(|person| {
            let (stage, waiting) = (Arc::clone(&stage), Arc::clone(&waiting));
            tokio::spawn(async move {
                let mut caller = Caller::connect(address).await;
                let mut times = Vec::new();
                for number in 0..messages {
                    let token = format!("token{person}x{number}.");
                    let before = stage.dingtalk.record().len();
                    times.push(ask(&stage, &waiting, &mut caller, person, &token).await);
                    let answer = format!("answer to {token}");
                    let arrived = stage.dingtalk.record().find(before, PATIENCE, |message| {
                        message.text.contains(&answer).then_some(())
                    });
                    arrived.await.expect("the answer is delivered");
                }
                times
            })
        })
        .collect();
    let mut crowd = Vec::new();
    for task in tasks {
        crowd.extend(task.await.unwrap());
    }
    for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
        table.add(Row {
            measurement: format!("the same, {people} people at once, {name}"),
            unit: "ms",
            dingbot: quantile(&crowd, q),
            peer: None,
            target: Target::None,
        });
    }
    table.note(format!(
        "Latency: {} callbacks 50 ms apart; then {people} people who each wait for the answer \
         before they go on, {} callbacks, at most 8 requests to the model at a time (the default); \
         the model answers at once; median of all {:.1} ms. Disk: {}.",
        SPARSE.0,
        crowd.len(),
        median(&crowd),
        disk::describe(&stage.daemon.state_directory()),
    ));
}

/// Times of asking the model directly and through the daemon, in turns.
async fn sparsely(stage: &Stage, waiting: &Waiting) -> (Vec<f64>, Vec<f64>) {
    let (count, pause) = SPARSE;
    let mut caller = Caller::connect(stage.daemon.address()).await;
    let model = stage.model.base().trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let mut to_model = Caller::connect(model.parse().unwrap()).await;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    let mut tick = tokio::time::interval(pause);
    for number in 0..count {
        tick.tick().await;
        let token = format!("token{number}.");
        through.push(ask(stage, waiting, &mut caller, number % 64, &token).await);
        let token = format!("tokendirect{number}.");
        let asked = expect(waiting, &token);
        let body = format!(
            r#"{{"model":"any","messages":[{{"role":"user","content":"What about {token} ?"}}]}}"#
        );
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: model\r\nauthorization: Bearer {}\r\n\
             content-length: {}\r\n\r\n{body}",
            model::KEY,
            body.len()
        );
        let started = Instant::now();
        assert_eq!(to_model.exchange(request.as_bytes()).await, 200);
        direct.push(millis(asked.await.unwrap() - started));
    }
    (direct, through)
}

/// Milliseconds from the first byte of a callback until the model was asked.
async fn ask(
    stage: &Stage,
    waiting: &Waiting,
    caller: &mut Caller,
    person: usize,
    token: &str,
) -> f64 {
    let callback = stage.dingtalk.callback().from(&format!("staff{person}"));
    let callback = callback.text(&format!("What do you think about {token} ?")).build();
    let request = caller::request(&callback);
    let asked = expect(waiting, token);
    let started = Instant::now();
    assert_eq!(caller.exchange(&request).await, 200);
    millis(asked.await.unwrap() - started)
}

fn expect(waiting: &Waiting, token: &str) -> oneshot::Receiver<Instant> {
    let (asked, when) = oneshot::channel();
    waiting.lock().unwrap().insert(token.to_owned(), asked);
    when
}
