//! What memories mean: their vectors, made beside them, and those of questions, by the built-in
//! encoder or by an endpoint.
//!
//! A memory is kept before its vector is made; recall goes by words for those that have none yet.
//! [`Meaning::run`] makes what is missing, also after the model was changed, and whoever adds
//! memories may wait a moment for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use moka::future::Cache;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::question::Question;
use crate::encoder::{self, Encoder, EncoderError};
use crate::llm::{EmbeddingModel, LlmError};
use crate::store::{ModelId, Result, Store, Unembedded};

/// Memories that are given a vector at a time.
const AT_A_TIME: usize = 32;
/// How often it looks without being told.
const SWEEP: Duration = Duration::from_secs(30);
/// How long to rest when the store or the model failed.
const PAUSE: Duration = Duration::from_secs(5);
/// What the point of a question weighs beside the whole, for the built-in model.
const TO_THE_POINT: f32 = 0.5;
/// How long the model stays loaded without a text.
const IDLE: Duration = Duration::from_secs(600);
/// Longest that who adds memories waits for their vectors.
const PATIENCE: Duration = Duration::from_millis(500);
/// Vectors that are kept: the same question is asked page by page, and by several filters; the same
/// words are said to several assistants.
const KEPT: u64 = 512;
/// Longest that a question waits for its vector from an endpoint; then words alone count.
const QUESTION_PATIENCE: Duration = Duration::from_secs(3);
/// What an endpoint is asked about first, to see how long its vectors are.
const PROBE: &str = "dingbot";
/// Where the package of the model puts it.
const SHARED: &str = "/usr/share/dingbot/models";

/// Where the model file may be, the first that is there counts: beside the store, where `dingbot
/// memory model import` puts it, or where its package does.
pub fn places(store: &Path) -> [PathBuf; 2] {
    let own = store.parent().unwrap_or(Path::new("."));
    [own.join("models").join(encoder::FILE), Path::new(SHARED).join(encoder::FILE)]
}

/// What makes vectors.
#[derive(Debug, Clone)]
enum Maker {
    /// The built-in encoder.
    BuiltIn(Arc<Encoder>),
    /// An endpoint.
    Endpoint(Arc<EmbeddingModel>),
}

/// Why there are no vectors; it was logged.
struct NoVectors;

/// The vectors of memories and questions.
#[derive(Debug)]
pub struct Meaning {
    maker: Maker,
    store: Arc<dyn Store>,
    /// The model of the vectors, as the store knows it: an endpoint's once the first one came.
    model: ArcSwapOption<(usize, ModelId)>,
    vectors: Cache<String, Arc<Vec<f32>>>,
    bell: Notify,
    /// How often all memories had a vector.
    rounds: watch::Sender<u64>,
    /// Whether somebody makes what is missing.
    runs: AtomicBool,
    /// Whether the endpoint failed and has not answered since: it is told once.
    failing: AtomicBool,
}

impl Meaning {
    /// Meaning by an endpoint's model.
    pub fn at(endpoint: EmbeddingModel, store: Arc<dyn Store>) -> Arc<Self> {
        let model = endpoint.name();
        tracing::info!(model, path = "llm.embedding", "memories are recalled by meaning, too");
        Self::by(Maker::Endpoint(Arc::new(endpoint)), store)
    }

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
        Some(Self::by(Maker::BuiltIn(encoder), store))
    }

    fn by(maker: Maker, store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            maker,
            store,
            model: ArcSwapOption::empty(),
            vectors: Cache::new(KEPT),
            bell: Notify::new(),
            rounds: watch::Sender::new(0),
            runs: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        })
    }

    /// What the vectors are made by, as the store names it: those of another do not compare.
    fn name(&self) -> String {
        match &self.maker {
            Maker::BuiltIn(_) => encoder::NAME.to_owned(),
            Maker::Endpoint(endpoint) => format!("endpoint:{}", endpoint.name()),
        }
    }

    /// The model of vectors of this length.
    async fn model_of(&self, dimensions: usize) -> Result<ModelId> {
        if let Some(known) = self.model.load_full().filter(|known| known.0 == dimensions) {
            return Ok(known.1);
        }
        let model = self.store.embedding_model(&self.name(), dimensions).await?;
        self.model.store(Some(Arc::new((dimensions, model))));
        Ok(model)
    }

    /// The model, if it is known without asking it.
    async fn model(&self) -> Result<Option<ModelId>> {
        match (&self.maker, self.model.load_full()) {
            (_, Some(known)) => Ok(Some(known.1)),
            (Maker::BuiltIn(_), None) => self.model_of(encoder::DIMENSIONS).await.map(Some),
            (Maker::Endpoint(_), None) => Ok(None),
        }
    }

    /// The vector of a question; `None`: there is none in time, which is logged.
    pub(super) async fn of(&self, question: &Question) -> Result<Option<(ModelId, Vec<f32>)>> {
        let text = question.text();
        // The vector of a memory of the same lines has no point.
        let key = if question.point().is_some() { format!("{text}\n") } else { text.to_owned() };
        let vector = match self.vectors.get(&key).await {
            Some(known) => known,
            None => {
                let made = match &self.maker {
                    Maker::BuiltIn(encoder) => {
                        let texts = [Some(text), question.point()].into_iter().flatten();
                        let made = encoded(encoder, texts.map(str::to_owned).collect()).await;
                        made.map(|vectors| vec![to_the_point(vectors)])
                    }
                    Maker::Endpoint(endpoint) => {
                        let made = endpoint.embed_now(text, QUESTION_PATIENCE).await;
                        self.heard(made).map(|vector| vec![vector])
                    }
                };
                let Ok(mut made) = made else { return Ok(None) };
                let vector = Arc::new(made.remove(0));
                self.vectors.insert(key, Arc::clone(&vector)).await;
                vector
            }
        };
        let model = self.model_of(vector.len()).await?;
        Ok(Some((model, vector.as_ref().clone())))
    }

    /// The vectors of memories; of a text that occurs twice, or was embedded lately, asked once.
    async fn of_memories(&self, texts: &[String]) -> std::result::Result<Vec<Vec<f32>>, NoVectors> {
        let mut known: HashMap<&str, Arc<Vec<f32>>> = HashMap::new();
        let mut asked: Vec<String> = Vec::new();
        for text in texts {
            if let Some(vector) = self.vectors.get(text).await {
                known.insert(text, vector);
            } else if !asked.contains(text) {
                asked.push(text.clone());
            }
        }
        let made = match &self.maker {
            _ if asked.is_empty() => Vec::new(),
            Maker::BuiltIn(encoder) => encoded(encoder, asked.clone()).await?,
            Maker::Endpoint(endpoint) => self.heard(endpoint.embed(&asked).await)?,
        };
        for (text, vector) in asked.iter().zip(made.into_iter().map(Arc::new)) {
            self.vectors.insert(text.clone(), Arc::clone(&vector)).await;
            known.insert(text, vector);
        }
        texts
            .iter()
            .map(|text| known.get(text.as_str()).map(|it| it.as_ref().clone()).ok_or(NoVectors))
            .collect()
    }

    /// Tells of an endpoint that has begun to fail, or to answer again.
    fn heard<T>(
        &self,
        answer: std::result::Result<T, LlmError>,
    ) -> std::result::Result<T, NoVectors> {
        match answer {
            Ok(vectors) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("memories are recalled by meaning again");
                }
                Ok(vectors)
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    let error_kind = error.outcome();
                    tracing::warn!(%error, error_kind, "no vectors: memories are recalled by their words meanwhile");
                }
                Err(NoVectors)
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
            if let Maker::BuiltIn(encoder) = &self.maker {
                let encoder = Arc::clone(encoder);
                let _ = tokio::task::spawn_blocking(move || encoder.release_if_idle(IDLE)).await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bell.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Gives every memory a vector; `false`: none can be made.
    async fn catch_up(&self, stop: &CancellationToken, told: &mut bool) -> Result<bool> {
        let mut model = match self.model().await? {
            Some(model) => model,
            // How long its vectors are is known when it has made one.
            None => match self.of_memories(&[PROBE.to_owned()]).await {
                Ok(vectors) => self.model_of(vectors[0].len()).await?,
                Err(NoVectors) => return Ok(false),
            },
        };
        let (began, first) = (Instant::now(), model);
        let mut made = 0;
        let left = self.store.count_unembedded(model).await?;
        if left > AT_A_TIME as u64 {
            tracing::info!(made, left, "giving memories their vectors");
            *told = true;
        }
        loop {
            let missing = self.store.unembedded(model, AT_A_TIME).await?;
            if missing.is_empty() || stop.is_cancelled() {
                break;
            }
            let texts: Vec<String> =
                missing.iter().map(|it: &Unembedded| it.text.clone()).collect();
            let Ok(vectors) = self.of_memories(&texts).await else { return Ok(false) };
            // An endpoint may have been given another model behind its name.
            let found = self.model_of(vectors[0].len()).await?;
            if found != model && model != first {
                // One that cannot make up its mind is asked again later.
                return Ok(false);
            }
            model = found;
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
        match self.model().await? {
            Some(model) => self.store.count_unembedded(model).await,
            None => self.store.total_memories().await,
        }
    }
}

/// The vector of a whole and, if there is one, its point, which a short-sighted encoder would lose
/// among the rest.
fn to_the_point(vectors: Vec<Vec<f32>>) -> Vec<f32> {
    let mut vectors = vectors.into_iter();
    let mut whole = vectors.next().unwrap_or_default();
    let Some(point) = vectors.next() else { return whole };
    whole.iter_mut().zip(point).for_each(|(number, of_point)| *number += TO_THE_POINT * of_point);
    let length = whole.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        whole.iter_mut().for_each(|number| *number /= length);
    }
    whole
}

/// The vectors of texts by the built-in encoder.
async fn encoded(
    encoder: &Arc<Encoder>,
    texts: Vec<String>,
) -> std::result::Result<Vec<Vec<f32>>, NoVectors> {
    let encoder = Arc::clone(encoder);
    let encode = move || -> std::result::Result<Vec<Vec<f32>>, EncoderError> {
        texts.iter().map(|text| encoder.encode(text)).collect()
    };
    match tokio::task::spawn_blocking(encode).await {
        Ok(Ok(vectors)) => Ok(vectors),
        Ok(Err(error)) => {
            let error_kind = "model_file";
            tracing::error!(%error, error_kind, "memories are recalled by their words alone");
            Err(NoVectors)
        }
        Err(_) => {
            tracing::error!(error_kind = "panic", "the encoder failed on a text");
            Err(NoVectors)
        }
    }
}
