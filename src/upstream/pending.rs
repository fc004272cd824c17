//! Calls that wait for an answer on a stream that they share: our id to waiter.

use crate::{
    upstream::{fault::Fault, sink::Sink},
    wire::{message::Answer, raw::Raw},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Calls that wait, by our id; when the stream ends each of them is told, exactly once.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u64, Waiter>,
    ended: Option<Fault>,
}

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Answer, Fault>>,
    sink: Option<Arc<Sink>>,
}

/// Gives the place back when the call ends in whatever way.
#[derive(Debug)]
pub(crate) struct Waiting {
    pending: Arc<Pending>,
    id: u64,
    /// The answer.
    pub(crate) answer: oneshot::Receiver<Result<Answer, Fault>>,
}

// === impl Pending ===

impl Pending {
    /// Waits for the answer with this id.
    pub(crate) fn wait(self: &Arc<Self>, id: u64, sink: Option<Arc<Sink>>) -> Result<Waiting, Fault> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        if let Some(fault) = &state.ended {
            return Err(fault.clone());
        }
        state.waiting.insert(id, Waiter { answer: sender, sink });
        Ok(Waiting { pending: self.clone(), id, answer })
    }

    /// Gives an answer to whom it belongs; `false` if nobody waits for that id.
    pub(crate) fn answer(&self, answer: Answer) -> bool {
        let waiter = number(&answer.id()).and_then(|id| self.state().waiting.remove(&id));
        // A waiter that just gave up needs no answer.
        waiter.is_some_and(|waiter| waiter.answer.send(Ok(answer)).is_ok())
    }

    /// The upstream will not answer this id: who waits for that is told.
    pub(crate) fn give_up(&self, id: u64) {
        let waiter = self.state().waiting.remove(&id);
        if let Some(waiter) = waiter {
            // A waiter that just gave up itself needs no word.
            let _ = waiter.answer.send(Err(Fault::Closed("the upstream took it back".into())));
        }
    }

    /// The sink of the call with this id.
    pub(crate) fn sink(&self, id: &Raw) -> Option<Arc<Sink>> {
        self.state().waiting.get(&number(id)?)?.sink.clone()
    }

    /// The sink of the only call that has one.
    pub(crate) fn only(&self) -> Option<Arc<Sink>> {
        let state = self.state();
        let mut sinks = state.waiting.values().filter_map(|waiter| waiter.sink.as_ref());
        sinks.next().filter(|_| sinks.next().is_none()).cloned()
    }

    /// The sink of the call that began last.
    pub(crate) fn youngest(&self) -> Option<Arc<Sink>> {
        let state = self.state();
        let waiting = state.waiting.iter().filter(|(_, waiter)| waiter.sink.is_some());
        waiting.max_by_key(|(id, _)| **id).and_then(|(_, waiter)| waiter.sink.clone())
    }

    /// Tells everybody who waits, and who will, that the stream is gone.
    pub(crate) fn end(&self, fault: &Fault) {
        let waiting = {
            let mut state = self.state();
            state.ended = Some(fault.clone());
            std::mem::take(&mut state.waiting)
        };
        self.over.cancel();
        for waiter in waiting.into_values() {
            // A waiter that just gave up needs no answer.
            let _ = waiter.answer.send(Err(fault.clone()));
        }
    }

    /// Waits until the stream is gone, and says why.
    pub(crate) async fn wait_end(&self) -> Fault {
        self.over.cancelled().await;
        self.ended().unwrap_or(Fault::Stopping)
    }

    /// Whether the stream is gone.
    pub(crate) fn ended(&self) -> Option<Fault> {
        self.state().ended.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.state().waiting.remove(&self.id);
    }
}

/// Our ids are integers; an id of another form is not ours.
pub(crate) fn number(id: &Raw) -> Option<u64> {
    id.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Arc, Pending, Waiting, number};
    use crate::{
        upstream::fault::Fault,
        wire::{message::Answer, raw::Raw},
    };
    use bytes::Bytes;
    use proptest::{collection, prop_assert_eq, prop_oneof, proptest, strategy::Strategy};
    use rstest::rstest;
    use std::collections::BTreeMap;
    use tokio::sync::oneshot::error::TryRecvError;

    fn answer(id: u64) -> Answer {
        Answer::result(&Raw::of(&id), &Raw::of(&id))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Answer(u64),
        GiveUp(u64),
        End,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6_u64).prop_map(Step::Wait),
            4 => (0..6_u64).prop_map(Step::Answer),
            2 => (0..6_u64).prop_map(Step::GiveUp),
            1 => proptest::strategy::Just(Step::End),
        ]
    }

    proptest! {
        #[test]
        fn every_waiter_is_told_exactly_once(steps in collection::vec(step(), 0..40)) {
            let (pending, mut waiting, mut told) = (Arc::new(Pending::default()), BTreeMap::new(), 0);
            let (mut begun, mut gave_up, mut is_over) = (0, 0, false);
            for step in steps {
                match step {
                    Step::Wait(id) if !waiting.contains_key(&id) => match pending.wait(id, None) {
                        Ok(waiter) => {
                            begun += 1;
                            waiting.insert(id, waiter);
                        }
                        Err(fault) => prop_assert_eq!((fault, is_over), (Fault::SessionGone, true)),
                    },
                    Step::Wait(_) => {}
                    Step::Answer(id) => {
                        let is_taken = pending.answer(answer(id));
                        prop_assert_eq!(is_taken, waiting.contains_key(&id) && !is_over);
                        if is_taken {
                            let mut waiter: Waiting = waiting.remove(&id).expect("it waits");
                            let got = waiter.answer.try_recv().expect("told").expect("an answer");
                            prop_assert_eq!(number(&got.id()), Some(id));
                            told += 1;
                        }
                    }
                    Step::GiveUp(id) => gave_up += usize::from(waiting.remove(&id).is_some()),
                    Step::End => {
                        is_over = true;
                        pending.end(&Fault::SessionGone);
                        for mut waiter in std::mem::take(&mut waiting).into_values() {
                            let fault = waiter.answer.try_recv().expect("told").expect_err("the end");
                            prop_assert_eq!(fault, Fault::SessionGone);
                            told += 1;
                        }
                    }
                }
            }
            for waiter in waiting.values_mut() {
                prop_assert_eq!(waiter.answer.try_recv().expect_err("nothing yet"), TryRecvError::Empty);
            }
            prop_assert_eq!(begun, told + gave_up + waiting.len());
            prop_assert_eq!(pending.state().waiting.len(), waiting.len());
            drop(waiting);
            prop_assert_eq!(pending.state().waiting.len(), 0);
        }
    }

    #[rstest]
    #[case("7", Some(7))]
    #[case("0", Some(0))]
    #[case("\"7\"", None)]
    #[case("7.0", None)]
    #[case("7e0", None)]
    #[case("-7", None)]
    #[case("null", None)]
    #[case("18446744073709551616", None)]
    fn only_integers_are_ours(#[case] id: &'static str, #[case] ours: Option<u64>) {
        let id = Raw::parse(Bytes::from_static(id.as_bytes())).expect("JSON");
        assert_eq!(number(&id), ours);
    }
}
