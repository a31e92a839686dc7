//! The test harness: starts the real binary, recorder upstreams, raw sockets, peers and browsers.
