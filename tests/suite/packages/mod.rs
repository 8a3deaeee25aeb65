//! What is packaged beside the plugin.

mod definitions;
mod man_page;
