//! Trunkline: a native MCP aggregator.
//!
//! To its clients it is one MCP server; behind it, it is the client of many, whose tools it merges under aliases.
//! The rooms below stand in the order in which they are best read; `docs/ARCHITECTURE.md` is their map.

pub mod wire;

pub mod protocol;

pub mod catalog;
pub mod policy;

pub mod session;
pub mod upstream;

pub mod relay;

pub mod front;

pub mod config;

pub mod gateway;

pub mod cli;

pub mod telemetry;
