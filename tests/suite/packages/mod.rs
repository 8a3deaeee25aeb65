//! The files that are packaged beside the plugin.

mod definitions;
mod man_page;
