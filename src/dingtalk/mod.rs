//! DingTalk.
pub mod callback;
mod error;
pub mod markdown;
pub mod signature;
