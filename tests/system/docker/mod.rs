//! The image, built by `packaging/docker/Dockerfile` and run by a Docker of the test's own.
//!
//! That Docker is in a network namespace without a way out, so that the ports of the operators'
//! commands are free and nothing leaves the machine; another namespace stands for the outside.

mod compose;
pub(crate) mod container;
pub(crate) mod engine;
mod guide;
mod image;
mod messages;
mod names;
mod operation;
mod ports;
mod state;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use engine::Engine;

/// Runs a test on the host of a Docker that has the image; or says why there is none.
///
/// The tests take turns, since they use the same ports, and share one Docker, which ends with the
/// last of them.
fn on_the_host<F: Future<Output = ()> + Send>(test: impl FnOnce(Arc<Engine>) -> F + Send) {
    static SHARED: Mutex<Weak<Turn>> = Mutex::new(Weak::new());
    let turn = {
        let mut shared = alive(SHARED.lock());
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Turn::default());
            *shared = Arc::downgrade(&new);
            new
        })
    };
    let mut state = alive(turn.0.lock());
    match state.get_or_insert_with(|| Engine::start().map(Arc::new)) {
        Ok(engine) => {
            let engine = Arc::clone(engine);
            let began = Instant::now();
            engine.network().host.run(test(Arc::clone(&engine)));
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
        }
        Err(why) => println!("skipped: docker: {why}"),
    }
}

/// The Docker, once somebody needed it, or why there is none.
#[derive(Default)]
struct Turn(Mutex<Option<Result<Arc<Engine>, String>>>);

/// The lock, also after a test that failed while it had it.
fn alive<'a, T>(
    lock: Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>>,
) -> MutexGuard<'a, T> {
    lock.unwrap_or_else(PoisonError::into_inner)
}
