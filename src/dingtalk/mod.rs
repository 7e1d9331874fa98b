//! DingTalk.
pub mod callback;
mod error;
pub mod signature;
