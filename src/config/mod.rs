//! Settings.
pub mod secret;
pub mod settings;

pub use secret::Secret;
pub use settings::Settings;
