//! The merged lists: what upstreams said, under public names, as each caller may see it.
//!
//! **Invariant:** a public name means one upstream and one native name for as long as a snapshot lives.

pub mod hint;
pub mod interfaces;
pub mod listing;
pub mod merge;
pub mod name;
pub mod page;
pub mod settings;
pub mod skills;
mod template;
pub mod uris;
pub mod view;
mod views;
