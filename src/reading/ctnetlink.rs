//! A ctnetlink dump: the request and the decoder.
