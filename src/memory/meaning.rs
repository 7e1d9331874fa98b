//! What memories mean: their vectors, made beside them, and those of questions.
//!
//! A memory is kept before its vector is made; recall goes by words for those that have none yet.
//! [`Meaning::run`] makes what is missing, also after the model was changed, and whoever adds
//! memories may wait a moment for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moka::future::Cache;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::encoder::{self, Encoder, EncoderError};
use crate::store::{ModelId, Result, Store, Unembedded};

/// Memories that are given a vector at a time.
const AT_A_TIME: usize = 32;
/// How often it looks without being told.
const SWEEP: Duration = Duration::from_secs(30);
/// How long to rest when the store or the model failed.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the model stays loaded without a text.
const IDLE: Duration = Duration::from_secs(600);
/// Longest that who adds memories waits for their vectors.
const PATIENCE: Duration = Duration::from_millis(500);
/// Vectors of questions that are kept: the same one is asked page by page, and by several filters.
const QUESTIONS: u64 = 256;
/// Where the package of the model puts it.
const SHARED: &str = "/usr/share/dingbot/models";

/// Where the model file may be, the first that is there counts: beside the store, where `dingbot
/// memory model import` puts it, or where its package does.
pub fn places(store: &Path) -> [PathBuf; 2] {
    let own = store.parent().unwrap_or(Path::new("."));
    [own.join("models").join(encoder::FILE), Path::new(SHARED).join(encoder::FILE)]
}

/// The vectors of memories and questions, by the built-in encoder.
#[derive(Debug)]
pub struct Meaning {
    encoder: Arc<Encoder>,
    store: Arc<dyn Store>,
    model: tokio::sync::OnceCell<ModelId>,
    questions: Cache<String, Arc<Vec<f32>>>,
    bell: Notify,
    /// How often all memories had a vector.
    rounds: watch::Sender<u64>,
    /// Whether somebody makes what is missing.
    runs: AtomicBool,
}

impl Meaning {
    /// Meaning by the model file at the first of `places` that has one; `None`: there is none, or it
    /// cannot be used, which is logged.
    pub fn open(places: &[PathBuf], store: Arc<dyn Store>) -> Option<Arc<Self>> {
        let path = places.iter().find(|path| path.exists())?;
        let encoder = match Encoder::open(path) {
            Ok(encoder) => Arc::new(encoder),
            Err(error) => {
                let error_kind = "model_file";
                tracing::error!(%error, error_kind, "memories are recalled by their words alone");
                return None;
            }
        };
        tracing::info!(model = encoder::NAME, path = %path.display(), "memories are recalled by meaning, too");
        Some(Arc::new(Self {
            encoder,
            store,
            model: tokio::sync::OnceCell::new(),
            questions: Cache::new(QUESTIONS),
            bell: Notify::new(),
            rounds: watch::Sender::new(0),
            runs: AtomicBool::new(false),
        }))
    }

    async fn model(&self) -> Result<ModelId> {
        let model = self.model.get_or_try_init(|| async {
            self.store.embedding_model(encoder::NAME, encoder::DIMENSIONS).await
        });
        model.await.copied()
    }

    /// The vector of a question; `None`: the model cannot be read, which is logged.
    pub(super) async fn of(&self, question: &str) -> Result<Option<(ModelId, Vec<f32>)>> {
        let model = self.model().await?;
        if let Some(known) = self.questions.get(question).await {
            return Ok(Some((model, known.as_ref().clone())));
        }
        let Some(mut vectors) = self.vectors(vec![question.to_owned()]).await else {
            return Ok(None);
        };
        let vector = vectors.remove(0);
        self.questions.insert(question.to_owned(), Arc::new(vector.clone())).await;
        Ok(Some((model, vector)))
    }

    async fn vectors(&self, texts: Vec<String>) -> Option<Vec<Vec<f32>>> {
        let encoder = Arc::clone(&self.encoder);
        let encode = move || -> std::result::Result<Vec<Vec<f32>>, EncoderError> {
            texts.iter().map(|text| encoder.encode(text)).collect()
        };
        match tokio::task::spawn_blocking(encode).await {
            Ok(Ok(vectors)) => Some(vectors),
            Ok(Err(error)) => {
                let error_kind = "model_file";
                tracing::error!(%error, error_kind, "memories are recalled by their words alone");
                None
            }
            Err(_) => {
                tracing::error!(error_kind = "panic", "the encoder failed on a text");
                None
            }
        }
    }

    /// Waits until what was added has its vectors, though not for long: recall finds it by its words
    /// at once.
    pub(super) async fn settle(&self) {
        if !self.runs.load(Ordering::Relaxed) {
            return;
        }
        let mut rounds = self.rounds.subscribe();
        self.bell.notify_one();
        let _ = tokio::time::timeout(PATIENCE, rounds.changed()).await;
    }

    /// Tells that there is something new; nobody waits for its vectors.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Makes what vectors are missing, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        self.runs.store(true, Ordering::Relaxed);
        let mut told = false;
        loop {
            let pause = match self.catch_up(&stop, &mut told).await {
                Ok(true) => SWEEP,
                Ok(false) => PAUSE,
                Err(error) => {
                    let error_kind = error.kind();
                    tracing::error!(%error, error_kind, "vectors could not be kept; trying again");
                    PAUSE
                }
            };
            let encoder = Arc::clone(&self.encoder);
            let _ = tokio::task::spawn_blocking(move || encoder.release_if_idle(IDLE)).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bell.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Gives every memory a vector; `false`: the model cannot be read.
    async fn catch_up(&self, stop: &CancellationToken, told: &mut bool) -> Result<bool> {
        let model = self.model().await?;
        let began = Instant::now();
        let mut made = 0;
        loop {
            let missing = self.store.unembedded(model, AT_A_TIME).await?;
            if missing.is_empty() || stop.is_cancelled() {
                break;
            }
            let texts = missing.iter().map(|it: &Unembedded| it.text.clone()).collect();
            let Some(vectors) = self.vectors(texts).await else { return Ok(false) };
            made += missing.len();
            self.store.put_vectors(model, missing.into_iter().zip(vectors).collect()).await?;
            // A long way: after an import, or with a model for the first time.
            if made.is_multiple_of(AT_A_TIME * 100) {
                let left = self.store.count_unembedded(model).await?;
                tracing::info!(made, left, "giving memories their vectors");
                *told = true;
            }
        }
        if std::mem::take(told) {
            tracing::info!(made, seconds = began.elapsed().as_secs(), "all memories have vectors");
        }
        self.rounds.send_modify(|rounds| *rounds += 1);
        Ok(true)
    }

    /// How many memories have no vector yet.
    pub async fn missing(&self) -> Result<u64> {
        self.store.count_unembedded(self.model().await?).await
    }
}
