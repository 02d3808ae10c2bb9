//! The API from its routes inwards, without a network.
