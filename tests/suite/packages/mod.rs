//! What is packaged beside the plugin.

mod man_page;
