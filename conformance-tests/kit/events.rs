//! Event streams as a client reads them; written apart from the gateway's own decoder, which it also checks.

use crate::kit::clock::within;

/// A stream that is being read.
pub(crate) struct Events {
    response: reqwest::Response,
    buffer: String,
    /// How many comments there were so far.
    pub(crate) comments: usize,
    /// The id of the last event.
    pub(crate) last_id: Option<String>,
    /// How long the server wants its client to wait.
    pub(crate) retry: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: String,
    pub(crate) id: Option<String>,
}

// === impl Events ===

impl Events {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self { response, buffer: String::new(), comments: 0, last_id: None, retry: None }
    }

    /// The next event; `None` when the stream ends.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        within("an event", async {
            loop {
                match self.next_block().await? {
                    Block::Comment | Block::Priming { .. } => {}
                    Block::Event(event) => return Some(event),
                }
            }
        })
        .await
    }

    /// Waits for the event without a message that a stream begins with.
    pub(crate) async fn primed(&mut self) {
        match within("a priming event", self.next_block()).await {
            Some(Block::Priming { .. }) => {}
            _ => panic!("the stream does not begin with a priming event"),
        }
    }

    /// The data of the next message.
    pub(crate) async fn message(&mut self) -> String {
        self.next().await.expect("a message before the stream ends").data
    }

    /// Waits for a comment; events are not expected before it.
    pub(crate) async fn comment(&mut self) {
        within("a comment", async {
            match self.next_block().await {
                Some(Block::Comment) => {}
                Some(Block::Priming { .. }) => panic!("a priming event in place of a comment"),
                Some(Block::Event(event)) => panic!("{event:?} in place of a comment"),
                None => panic!("the stream ended in place of a comment"),
            }
        })
        .await;
    }

    async fn next_block(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let block = Block::read(&block);
                match &block {
                    Block::Comment => self.comments += 1,
                    Block::Priming { id, retry } => {
                        self.last_id = Some(id.clone());
                        self.retry.clone_from(retry);
                    }
                    Block::Event(event) => self.last_id = event.id.clone().or(self.last_id.take()),
                }
                return Some(block);
            }
            let piece = self.response.chunk().await.ok()??;
            self.buffer.push_str(std::str::from_utf8(&piece).expect("pieces of whole characters"));
        }
    }
}

enum Block {
    Comment,
    /// An id without a message.
    Priming {
        id: String,
        retry: Option<String>,
    },
    Event(Event),
}

// === impl Block ===

impl Block {
    fn read(block: &str) -> Self {
        let (mut kind, mut data, mut id, mut retry) = (String::new(), Vec::new(), None, None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("event", value)) => kind = value.into(),
                Some(("data", value)) => data.push(value),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("retry", value)) => retry = Some(value.to_owned()),
                _ => assert!(line.is_empty() || line.starts_with(':'), "an odd line: {line}"),
            }
        }
        match id {
            Some(id) if data == [""] => Self::Priming { id, retry },
            id if !data.is_empty() => Self::Event(Event { kind, data: data.join("\n"), id }),
            _ => Self::Comment,
        }
    }
}

/// The messages of a stream that is over.
pub(crate) fn all(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).expect("a stream of text");
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .filter_map(|block| match Block::read(block) {
            Block::Event(event) => Some(event.data),
            Block::Comment | Block::Priming { .. } => None,
        })
        .collect()
}
