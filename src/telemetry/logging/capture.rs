//! The layer that takes events and spans down, whole and owned, on the thread that logs.
//!
//! That thread formats the fields and puts them into a queue; it never writes, and never waits.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::queue::Queue;
use super::record::{Fields, Record, Span};

/// Puts every event into a queue, with the fields of the spans it happened in.
#[derive(Debug)]
pub(super) struct Capture {
    queue: Queue,
}

impl Capture {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue }
    }
}

impl<S> Layer<S> for Capture
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let kept = Arc::new(Span { metadata: attributes.metadata(), fields });
        span.extensions_mut().insert(kept);
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Before the span is locked: a value may log or panic while it is formatted.
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(kept) = span.extensions_mut().get_mut::<Arc<Span>>() {
            // Events that are in the queue already keep what was known then.
            Arc::make_mut(kept).fields.extend(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans = spans.filter_map(|span| span.extensions().get::<Arc<Span>>().cloned());
        self.queue.put(Record {
            at: Timestamp::now(),
            metadata: event.metadata(),
            fields,
            spans: spans.collect(),
        });
    }
}
