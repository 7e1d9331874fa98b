use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::record::Fields;
use super::replay::Replay;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A place to write to that can be read.
#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `log` logs, through the queue and a thread, to the sink that `open` opens.
fn logged_to<S: Sink>(open: impl FnOnce() -> S + Send + 'static, log: impl FnOnce()) {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let (queue, far_end) = Queue::new(1_000, dropped.clone());
    far_end.start(open, |_| {}).unwrap();
    let subscriber = tracing_subscriber::registry().with(Capture::new(queue.clone()));
    tracing::subscriber::with_default(subscriber, log);
    assert!(queue.finish(PATIENCE), "not written in time");
    assert_eq!(dropped.get(), 0);
}

/// What `log` logs, as lines of JSON.
fn json(log: impl FnOnce()) -> Vec<Value> {
    let page = Page::default();
    let output = page.clone();
    logged_to(move || Json::new(output), log);
    let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    written.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a replayed event looks like to the layer behind.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut seen = format!("{} {}", event.metadata().level(), event.metadata().target());
        for span in context.lookup_current().into_iter().flat_map(|span| span.scope().from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<Fields>().unwrap();
            seen.push_str(&format!(" {}{:?}", span.name(), names(fields)));
        }
        seen.push_str(&format!(" {:?}", names(&fields)));
        self.0.lock().unwrap().push(seen);
    }

    fn on_close(&self, id: tracing::span::Id, context: Context<'_, S>) {
        self.0.lock().unwrap().push(format!("closed {}", context.span(&id).unwrap().name()));
    }
}

fn names(fields: &Fields) -> Vec<String> {
    ["message", "message_id", "conversation", "count", "late"]
        .into_iter()
        .filter_map(|name| {
            let value = serde_json::to_string(fields.get(name)?).unwrap();
            Some(format!("{name}={value}"))
        })
        .collect()
}

struct Replayed(Replay);

impl Sink for Replayed {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.0.play(record);
        Ok(())
    }
}

fn replayed(log: impl FnOnce()) -> Vec<String> {
    let seen = Seen::default();
    let layer = seen.clone();
    logged_to(move || Replayed(Replay::new(layer)), log);
    seen.0.lock().unwrap().clone()
}

#[test]
fn lines_come_in_order_with_the_fields_of_their_spans() {
    let lines = json(|| {
        let message =
            tracing::error_span!("message", message_id = "m1", outcome = tracing::field::Empty);
        let _entered = message.enter();
        tracing::info!("before");
        message.record("outcome", "answered");
        let part = tracing::error_span!("part", number = 2);
        part.in_scope(|| tracing::warn!(ok = true, share = 0.5, ids = ?[1, 2], "within"));
        tracing::error!(error = %io::Error::other("broken"), "after");
    });
    let texts: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(texts, ["before", "within", "after"]);
    assert!(lines.iter().all(|line| line["message_id"] == "m1"));
    assert!(lines[0].get("outcome").is_none() && lines[1]["outcome"] == "answered");
    assert_eq!((&lines[1]["number"], &lines[1]["ids"]), (&2.into(), &"[1, 2]".into()));
    assert_eq!((&lines[1]["ok"], &lines[1]["share"]), (&true.into(), &0.5.into()));
    assert!(lines[2].get("number").is_none(), "the span had ended: {}", lines[2]);
    assert_eq!(lines[2]["error"], "broken");
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["INFO", "WARN", "ERROR"]);
    assert_eq!(lines[0]["target"], "dingbot::telemetry::logging::tests");
}

#[test]
fn a_name_has_one_value_and_what_every_line_has_is_not_replaced() {
    let lines = json(|| {
        let outer = tracing::error_span!("outer", conversation = "outer", lane = "outer");
        let _outer = outer.enter();
        let inner = tracing::error_span!("inner", conversation = "inner", lane = "inner");
        let _inner = inner.enter();
        tracing::info!(conversation = "own", level = "FORGED", timestamp = "never", "said");
    });
    assert_eq!(lines[0]["conversation"], "own");
    assert_eq!(lines[0]["lane"], "inner");
    assert_eq!(lines[0]["level"], "INFO");
    let at: jiff::Timestamp = lines[0]["timestamp"].as_str().unwrap().parse().unwrap();
    assert!(at.duration_until(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_mins(1));
}

#[test]
fn a_layer_sees_the_event_as_it_was_and_its_spans_are_closed_again() {
    let seen = replayed(|| {
        let outer = tracing::error_span!("outer", conversation = "c", late = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("late", true);
        let inner = tracing::error_span!("inner", message_id = "m", conversation = "c2");
        let _inner = inner.enter();
        tracing::debug!(target: "elsewhere", count = 3, message_id = "own", "said {}", "so");
    });
    let expected = [
        r#"DEBUG elsewhere outer["late=true"] inner["conversation=\"c2\""] ["message=\"said so\"", "message_id=\"own\"", "count=3"]"#,
        "closed inner",
        "closed outer",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_text_of_several_lines_stays_one_line_and_begins_none() {
    let forged = "harmless\n2026-01-01T00:00:00Z ERROR dingbot: forged\u{1b}[31m\r\nMESSAGE=forged";
    let lines = json(|| tracing::warn!(error = %forged, said = forged, "{forged}"));
    assert_eq!(lines.len(), 1);
    assert!(
        [&lines[0]["message"], &lines[0]["error"], &lines[0]["said"]].iter().all(|v| **v == forged)
    );

    for journal in [false, true] {
        let page = Page::default();
        let output = page.clone();
        logged_to(
            move || Text::new(output, false, journal),
            || {
                let span = tracing::error_span!("message", conversation = %forged);
                span.in_scope(|| tracing::warn!(error = %forged, "{forged}"));
            },
        );
        let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.starts_with("<4>"), journal, "{written}");
        let line = written.strip_suffix('\n').unwrap();
        assert_eq!(line.matches("forged").count(), 6, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn a_value_has_a_bound() {
    let long = "长".repeat(100_000);
    let lines = json(|| tracing::info!(conversation = long, "said"));
    let kept = lines[0]["conversation"].as_str().unwrap();
    assert!(kept.len() < 20_000 && kept.starts_with("长长") && kept.ends_with('…'));
}

/// Writes a line when it is let, and then says so.
struct Held {
    go: Receiver<bool>,
    written: Sender<Option<String>>,
}

impl Sink for Held {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let ok = self.go.recv().unwrap_or(false);
        let _ = self.written.send(record.message().map(|message| message.into_owned()));
        if ok { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

#[test]
fn a_full_queue_holds_nobody_up_and_says_later_how_much_was_lost() {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let (queue, far_end) = Queue::new(4, dropped.clone());
    let (go, held) = mpsc::channel();
    let (written, lines) = mpsc::channel();
    let (reporter, reports) = mpsc::channel();
    far_end
        .start(move || Held { go: held, written }, move |lost| reporter.send(lost).unwrap())
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(Capture::new(queue.clone()));
    let started = Instant::now();
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..1_000 {
            tracing::info!("line {number}");
        }
    });
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let lost = dropped.get();
    // Four places, and perhaps the one that the writer has taken already.
    assert!((995..=996).contains(&lost), "{lost}");
    assert!(reports.try_recv().is_err(), "nobody reads yet");

    // Written as long as somebody reads, in order, and then the loss is told.
    let kept = 1_000 - lost;
    (0..kept).for_each(|_| go.send(true).unwrap());
    let mut last = None;
    for _ in 0..kept {
        let line = lines.recv_timeout(PATIENCE).unwrap().unwrap();
        let number: u32 = line.strip_prefix("line ").unwrap().parse().unwrap();
        // The fifth got the place of the first, whenever that was taken.
        assert!(last.is_none_or(|last| last < number), "{last:?} before {number}");
        last = Some(number);
    }
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), lost);
    assert!(queue.finish(PATIENCE));
}

#[test]
fn a_line_that_cannot_be_written_counts_and_is_told_once_one_can_be() {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let (queue, far_end) = Queue::new(4, dropped.clone());
    let (go, held) = mpsc::channel();
    let (written, lines) = mpsc::channel();
    let (reporter, reports) = mpsc::channel();
    far_end
        .start(move || Held { go: held, written }, move |lost| reporter.send(lost).unwrap())
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(Capture::new(queue.clone()));
    tracing::subscriber::with_default(subscriber, || {
        for ok in [false, true] {
            tracing::info!("said");
            go.send(ok).unwrap();
            lines.recv_timeout(PATIENCE).unwrap();
        }
    });
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), 1);
    assert_eq!(dropped.get(), 1);
    assert!(queue.finish(PATIENCE));
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_does_not_read() {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let (queue, far_end) = Queue::new(2, dropped);
    let (go, held) = mpsc::channel();
    far_end.start(move || Held { go: held, written: mpsc::channel().0 }, |_| {}).unwrap();
    let subscriber = tracing_subscriber::registry().with(Capture::new(queue.clone()));
    tracing::subscriber::with_default(subscriber, || (0..9).for_each(|_| tracing::info!("said")));
    let started = Instant::now();
    assert!(!queue.finish(Duration::from_millis(50)));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(go);
}

#[test]
fn what_the_writer_says_of_its_output_is_written_though_the_process_is_over() {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let (queue, far_end) = Queue::new(4, dropped);
    let subscriber = tracing_subscriber::registry().with(Capture::new(queue.clone()));
    let (go, held) = mpsc::channel();
    let (may_write, writes) = mpsc::channel();
    let (written, lines) = mpsc::channel();
    let open = move || {
        held.recv().unwrap();
        tracing::subscriber::with_default(subscriber, || tracing::warn!("there is no journal"));
        Held { go: writes, written }
    };
    far_end.start(open, |_| {}).unwrap();
    assert!(!queue.finish(Duration::ZERO), "the writer has not begun");
    go.send(()).unwrap();
    may_write.send(true).unwrap();
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap().unwrap(), "there is no journal");
}

#[test]
fn the_level_changes_at_once() {
    for bad in ["verbose", "dingbot=chatty"] {
        assert_eq!(filter(bad).map(drop), Err(InvalidLevel));
    }
    let (layer, level) = LevelHandle::new(filter("warn").unwrap());
    let page = Page::default();
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let (queue, far_end) = Queue::new(100, dropped);
    let output = page.clone();
    far_end.start(move || Json::new(output), |_| {}).unwrap();
    let subscriber = Registry::default().with(layer).with(Capture::new(queue.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::error_span!("message", message_id = "m");
        let _entered = span.enter();
        tracing::info!("left out");
        level.set(filter("info,dingbot::telemetry=debug").unwrap());
        tracing::debug!("taken");
        tracing::debug!("taken too");
        level.set(filter("error").unwrap());
        tracing::warn!("left out as well");
    });
    assert!(queue.finish(PATIENCE));
    let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = written.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let texts: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(texts, ["taken", "taken too"]);
    assert!(lines.iter().all(|line| line["message_id"] == "m"), "{written}");
}
