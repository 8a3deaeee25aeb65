//! The files that are packaged beside the plugin.

mod man_page;
