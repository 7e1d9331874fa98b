//! What recall reads again and again, kept beside the file: the postings of the terms that were asked
//! for, the vectors and the turns of the owners who were asked about lately.
//!
//! What is kept is read on from where it ends, and thrown away once something was done to an owner's
//! memories other than adding to them (`owners.rewritten`), whichever process did it. So it never
//! says anything else than the file, and nobody who writes has to know of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use moka::sync::Cache;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::nearness::Vectors;
use crate::store::{ModelId, Posting};

/// Bytes kept at most, of all owners together. Of the busiest owner some 20 MB are vectors; an owner
/// who alone had more than this would be read from the file each time.
const CAPACITY: u64 = 64 << 20;
/// How long what nobody asks for is kept.
const IDLE: Duration = Duration::from_secs(600);

/// The postings of a term among the memories that came after one. Its plan is tested.
pub(in crate::store::sqlite) const POSTINGS: &str = "SELECT memory, frequency, length FROM postings
     WHERE owner = ?1 AND term = ?2 AND memory > ?3 ORDER BY memory";

/// The turns of an owner's conversations that came after one. Its plan is tested.
pub(in crate::store::sqlite) const TURNS: &str =
    "SELECT key, follows FROM memories WHERE owner = ?1 AND follows IS NOT NULL AND key > ?2
     ORDER BY key";

/// Who speaks in an owner's memories that came after one. Its plan is tested.
pub(in crate::store::sqlite) const SPEAKERS: &str =
    "SELECT key, speaker FROM memories WHERE owner = ?1 AND speaker IS NOT NULL AND key > ?2
     ORDER BY key";

/// The vectors of an owner's memories that came after one. Its plan is tested.
pub(in crate::store::sqlite) const VECTORS: &str = "SELECT memory, scale, numbers FROM vectors
     WHERE owner = ?1 AND model = ?2 AND memory > ?3 ORDER BY memory";

/// What is kept of all owners.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Indexes {
    kept: Cache<i64, Arc<Mutex<Index>>>,
}

impl Default for Indexes {
    fn default() -> Self {
        let weight = |_: &i64, index: &Arc<Mutex<Index>>| {
            u32::try_from(unlocked(index).bytes()).unwrap_or(u32::MAX)
        };
        let kept =
            Cache::builder().max_capacity(CAPACITY).time_to_idle(IDLE).weigher(weight).build();
        Self { kept }
    }
}

/// What a question is compared with: one state of an owner's memories.
pub(super) struct View {
    pub(super) keys: Arc<Vec<i64>>,
    /// How many terms the memories have together.
    pub(super) terms: u64,
    /// Of each term that was asked for.
    pub(super) postings: Vec<Arc<Vec<Posting>>>,
    pub(super) vectors: Option<Arc<Vectors>>,
    pub(super) turns: Arc<Vec<(u32, u32)>>,
    pub(super) speakers: Arc<Vec<(u32, u32)>>,
    pub(super) names: Arc<Vec<String>>,
}

impl Indexes {
    /// Of an owner what a question needs, with the transaction that it was read in; `None`: there is
    /// no such owner.
    pub(super) fn view<'c>(
        &self,
        c: &'c Connection,
        owner: i64,
        terms: &[String],
        model: Option<ModelId>,
    ) -> rusqlite::Result<Option<(View, Transaction<'c>)>> {
        let index = self.kept.get_with(owner, Arc::default);
        let (view, state, grown) = {
            let mut index = unlocked(&index);
            // Begun under the lock: nobody then reads an older state than what is kept is from.
            let state = c.unchecked_transaction()?;
            let before = index.bytes();
            let Some(all_terms) = index.catch_up(&state, owner)? else { return Ok(None) };
            let postings = terms.iter().map(|term| index.postings(&state, owner, term));
            let postings = postings.collect::<rusqlite::Result<_>>()?;
            let vectors = model.map(|model| index.vectors(&state, owner, model)).transpose()?;
            let turns = index.turns(&state, owner)?;
            let (speakers, names) = index.speakers(&state, owner)?;
            let keys = Arc::clone(&index.keys);
            let view = View { keys, terms: all_terms, postings, vectors, turns, speakers, names };
            (view, state, index.bytes() != before)
        };
        if grown {
            // Weighed anew.
            self.kept.insert(owner, index);
        }
        Ok(Some((view, state)))
    }
}

/// An index after a panic is begun anew: part of it may be missing.
fn unlocked(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(|poisoned| {
        index.clear_poison();
        let mut index = poisoned.into_inner();
        *index = Index::default();
        index
    })
}

/// What is kept of an owner.
#[derive(Debug, Default)]
struct Index {
    rewritten: i64,
    reembedded: i64,
    last_number: i64,
    keys: Arc<Vec<i64>>,
    postings: HashMap<String, Part<Posting>>,
    turns: Part<(u32, u32)>,
    speakers: Part<(u32, u32)>,
    names: Arc<Vec<String>>,
    vectors: Option<Arc<Vectors>>,
    /// Of all postings and the terms that they are of.
    postings_bytes: usize,
}

/// What is known of the first `of` memories.
#[derive(Debug)]
struct Part<T> {
    of: usize,
    rows: Arc<Vec<T>>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { of: 0, rows: Arc::default() }
    }
}

impl Index {
    /// Learns what memories there are; returns how many terms they have, unless there is no such
    /// owner.
    fn catch_up(&mut self, c: &Connection, owner: i64) -> rusqlite::Result<Option<u64>> {
        let found: Option<(i64, i64, i64, i64)> = c
            .prepare_cached(
                "SELECT rewritten, reembedded, last_number, terms FROM owners WHERE id = ?1",
            )?
            .query_row([owner], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))
            .optional()?;
        let Some((rewritten, reembedded, last_number, terms)) = found else { return Ok(None) };
        if rewritten != self.rewritten {
            *self = Self { rewritten, reembedded, ..Self::default() };
        }
        if reembedded != self.reembedded {
            (self.reembedded, self.vectors) = (reembedded, None);
        }
        if last_number != self.last_number {
            let new = c
                .prepare_cached(
                    "SELECT key FROM memories WHERE owner = ?1 AND number > ?2 ORDER BY number",
                )?
                .query_map([owner, self.last_number], |r| r.get(0))?
                .collect::<rusqlite::Result<Vec<i64>>>()?;
            Arc::make_mut(&mut self.keys).extend(new);
            self.last_number = last_number;
        }
        Ok(Some(terms.unsigned_abs()))
    }

    /// The postings of a term.
    fn postings(
        &mut self,
        c: &Connection,
        owner: i64,
        term: &str,
    ) -> rusqlite::Result<Arc<Vec<Posting>>> {
        if let Some(known) = self.postings.get(term)
            && known.of == self.keys.len()
        {
            return Ok(Arc::clone(&known.rows));
        }
        let known = self.postings.get(term).map_or(0, |known| known.of);
        let mut places = Places::after(&self.keys, known);
        let mut find = c.prepare_cached(POSTINGS)?;
        let mut rows = find.query(params![owner, term, places.after])?;
        let mut new = Vec::new();
        while let Some(row) = rows.next()? {
            if let Some(memory) = places.of(row.get(0)?) {
                new.push(Posting { memory, frequency: row.get(1)?, length: row.get(2)? });
            }
        }
        self.postings_bytes += size_of_val(&*new);
        if !self.postings.contains_key(term) {
            self.postings_bytes += term.len() + size_of::<(String, Part<Posting>)>();
        }
        let kept = self.postings.entry(term.to_owned()).or_default();
        kept.of = self.keys.len();
        if !new.is_empty() {
            Arc::make_mut(&mut kept.rows).extend(new);
        }
        Ok(Arc::clone(&kept.rows))
    }

    /// The turns of conversations, each with the one that it followed.
    fn turns(&mut self, c: &Connection, owner: i64) -> rusqlite::Result<Arc<Vec<(u32, u32)>>> {
        if self.turns.of < self.keys.len() {
            let mut places = Places::after(&self.keys, self.turns.of);
            let mut find = c.prepare_cached(TURNS)?;
            let mut rows = find.query([owner, places.after])?;
            let mut new = Vec::new();
            while let Some(row) = rows.next()? {
                let before = self.keys.binary_search(&row.get(1)?);
                if let (Some(turn), Ok(before)) = (places.of(row.get(0)?), before) {
                    new.push((turn, before as u32));
                }
            }
            self.turns.of = self.keys.len();
            if !new.is_empty() {
                Arc::make_mut(&mut self.turns.rows).extend(new);
            }
        }
        Ok(Arc::clone(&self.turns.rows))
    }

    /// Who speaks in which memory, by the places of the names, and the names.
    #[expect(clippy::type_complexity, reason = "it is said in the sentence above")]
    fn speakers(
        &mut self,
        c: &Connection,
        owner: i64,
    ) -> rusqlite::Result<(Arc<Vec<(u32, u32)>>, Arc<Vec<String>>)> {
        if self.speakers.of < self.keys.len() {
            let mut places = Places::after(&self.keys, self.speakers.of);
            let mut find = c.prepare_cached(SPEAKERS)?;
            let mut rows = find.query([owner, places.after])?;
            let mut new = Vec::new();
            while let Some(row) = rows.next()? {
                let Some(memory) = places.of(row.get(0)?) else { continue };
                let name = row.get_ref(1)?.as_str()?;
                let known = self.names.iter().position(|it| it == name);
                let place = known.unwrap_or_else(|| {
                    Arc::make_mut(&mut self.names).push(name.to_owned());
                    self.names.len() - 1
                });
                new.push((memory, place as u32));
            }
            self.speakers.of = self.keys.len();
            if !new.is_empty() {
                Arc::make_mut(&mut self.speakers.rows).extend(new);
            }
        }
        Ok((Arc::clone(&self.speakers.rows), Arc::clone(&self.names)))
    }

    /// The vectors of a model.
    fn vectors(
        &mut self,
        c: &Connection,
        owner: i64,
        model: ModelId,
    ) -> rusqlite::Result<Arc<Vectors>> {
        let known = self.vectors.take().filter(|kept| kept.model == model);
        let mut kept = known.unwrap_or_else(|| Arc::new(Vectors::of(model)));
        let last = kept.memories.last().map_or(0, |last| *last as usize + 1);
        let mut places = Places::after(&self.keys, last);
        let mut find = c.prepare_cached(VECTORS)?;
        let mut rows = find.query(params![owner, model.0, places.after])?;
        while let Some(row) = rows.next()? {
            if let Some(memory) = places.of(row.get(0)?) {
                let scale: f64 = row.get(1)?;
                let numbers = row.get_ref(2)?.as_blob()?;
                Arc::make_mut(&mut kept).push(memory, scale as f32, numbers);
            }
        }
        self.vectors = Some(Arc::clone(&kept));
        Ok(kept)
    }

    fn bytes(&self) -> usize {
        let vectors = self.vectors.as_ref().map_or(0, |vectors| vectors.bytes());
        size_of::<Self>()
            + size_of_val(&**self.keys)
            + size_of_val(&**self.turns.rows)
            + size_of_val(&**self.speakers.rows)
            + self.names.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>()
            + self.postings_bytes
            + vectors
    }
}

/// The places of keys that come in their order.
struct Places<'a> {
    keys: &'a [i64],
    next: usize,
    /// The key that they come after.
    after: i64,
}

impl<'a> Places<'a> {
    fn after(keys: &'a [i64], known: usize) -> Self {
        let after = known.checked_sub(1).map_or(i64::MIN, |last| keys[last]);
        Self { keys, next: known, after }
    }

    fn of(&mut self, key: i64) -> Option<u32> {
        while *self.keys.get(self.next)? < key {
            self.next += 1;
        }
        (self.keys[self.next] == key).then_some(self.next as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::evidence;
    use super::*;
    use crate::store::conformance::memory;
    use crate::store::sqlite::tests::Place;
    use crate::store::{
        Asked, Edit, Evidence, MemoryStore, Scope, Selection, Unembedded, VectorStore, Words,
    };

    const WORDS: [&str; 4] = ["tea", "rice", "cat", "bus"];

    /// Something done to the memories of one of two people.
    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, Vec<usize>),
        /// A turn of a conversation, said by one of two.
        Say(u8, bool),
        Edit(u8, usize),
        Remove(u8),
        RemoveAll(u8),
        /// Vectors by one of two models, for so many.
        Embed(bool, usize),
        Ask(u8, usize, Option<bool>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let words = prop::sample::subsequence(vec![0, 1, 2, 3], 1..4);
        prop_oneof![
            4 => (0..2_u8, words).prop_map(|(who, words)| Step::Add(who, words)),
            2 => (0..2_u8, any::<bool>()).prop_map(|(who, bot)| Step::Say(who, bot)),
            1 => (any::<u8>(), 0..WORDS.len()).prop_map(|(which, word)| Step::Edit(which, word)),
            1 => any::<u8>().prop_map(Step::Remove),
            1 => (0..2_u8).prop_map(Step::RemoveAll),
            3 => (any::<bool>(), 1..4_usize).prop_map(|(model, count)| Step::Embed(model, count)),
            6 => (0..2_u8, 0..WORDS.len(), any::<Option<bool>>())
                .prop_map(|(who, word, model)| Step::Ask(who, word, model)),
        ]
    }

    fn person(who: u8) -> Scope {
        Scope::user(&format!("p{who}")).unwrap()
    }

    async fn carry_out(place: &Place, steps: Vec<Step>) {
        let store = place.store();
        let mut models = Vec::new();
        for name in ["one", "other"] {
            models.push(store.embedding_model(name, 2).await.unwrap());
        }
        let mut ids = Vec::new();
        for (at, step) in (1..).zip(steps) {
            let pick = |which: u8| ids.get(usize::from(which) % ids.len().max(1)).cloned();
            match step {
                Step::Add(who, words) => {
                    let text: Vec<&str> = words.iter().map(|word| WORDS[*word]).collect();
                    let mut new = memory(&text.join(" "));
                    new.id = format!("m{at}");
                    ids.push(new.id.clone());
                    store.add_memories(&person(who), vec![new]).await.unwrap();
                }
                Step::Say(who, bot) => {
                    let mut turn = memory(WORDS[usize::from(bot)]);
                    turn.role = Some(if bot { "assistant" } else { "user" }.into());
                    turn.words.speaker = Some(WORDS[2 + usize::from(bot)].into());
                    turn.id = format!("m{at}");
                    ids.push(turn.id.clone());
                    store.add_memories(&person(who), vec![turn]).await.unwrap();
                }
                Step::Edit(which, word) => {
                    let Some(id) = pick(which) else { continue };
                    let text = WORDS[word].to_owned();
                    let words = Words { terms: vec![(text.clone(), 1)], speaker: None };
                    let edit = Edit { text: Some((text, words)), at, ..Edit::default() };
                    store.edit_memory(&id, edit).await.unwrap();
                }
                Step::Remove(which) => {
                    let Some(id) = pick(which) else { continue };
                    let Some(record) = store.memory(&id).await.unwrap() else { continue };
                    store.forget_memory(&record.scope, record.number, "m", at).await.unwrap();
                }
                Step::RemoveAll(who) => {
                    store.remove_memories(&Selection::of(&person(who)), at).await.unwrap();
                }
                Step::Embed(model, count) => {
                    let model = models[usize::from(model)];
                    let waiting = store.unembedded(model, count).await.unwrap();
                    let vector = |it: &Unembedded| vec![it.text.len() as f32, at as f32];
                    let made = waiting.into_iter().map(|it| (it.clone(), vector(&it))).collect();
                    store.put_vectors(model, made).await.unwrap();
                }
                Step::Ask(who, word, model) => {
                    let vector = model.map(|model| (models[usize::from(model)], vec![0.6, 0.8]));
                    let asked = Asked { terms: vec![WORDS[word].into()], vector };
                    let selection = Selection::of(&person(who));
                    let kept = Arc::clone(&store.indexes);
                    let of = move |c: &Connection, indexes: &Indexes| {
                        evidence::evidence(c, indexes, &selection, &asked)
                    };
                    let read =
                        move |c: &Connection| Ok((of(c, &kept)?, of(c, &Indexes::default())?));
                    let (warm, cold): (Vec<Evidence>, Vec<Evidence>) =
                        store.readers.read(read).await.unwrap();
                    assert_eq!(warm, cold, "step {at}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_kept_says_what_the_file_says(
            steps in prop::collection::vec(step(), 1..60)
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(carry_out(&Place::new(), steps));
        }
    }

    #[test]
    fn what_is_kept_is_weighed() {
        let mut index = Index::default();
        let empty = index.bytes();
        let mut vectors = Vectors::of(ModelId(1));
        (0..1_000).for_each(|memory| vectors.push(memory, 1.0, &[0; 1_024]));
        index.vectors = Some(Arc::new(vectors));
        assert!(index.bytes() > empty + 1_000 * 1_024);
    }
}
