//! Rules of the exchange that a test can leave out, to see that it shows.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What holds in the histories that are played. [`Rules::default`] are all of them.
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct Rules {
            $($(#[$doc])* pub(crate) $name: bool,)*
        }

        impl Default for Rules {
            fn default() -> Self {
                Self { $($name: true,)* }
            }
        }

        impl Rules {
            /// Returns the rules without one of them, once for each.
            pub(crate) fn each_without_one() -> Vec<(&'static str, Self)> {
                vec![$((stringify!($name), Self { $name: false, ..Self::default() }),)*]
            }
        }
    };
}

rules! {
    /// No id that the client has seen is given again.
    ids_have_a_floor,
    /// Both sides say what there is, and do not repeat what was said.
    counts_are_absolute,
    /// A callback is given back only when no checkpoint holds it.
    releases_are_withheld,
    /// Tokens come in the order of their checkpoints.
    tokens_keep_their_place,
    /// Rights are looked at again.
    restoring_authorises,
    /// Calls of another process are known for what they are.
    again_is_told,
    /// The server hears of a token when it outlives the client's process.
    tokens_wait_until_saved,
    /// When both processes died, ids are left out that may have been given meanwhile.
    ids_are_left_out,
    /// A client that was restarted sends nothing before the server has reported what it holds.
    clients_wait_until_reconciled,
    /// A process whose lease is over carries nothing out.
    leases_end,
    /// The store takes nothing from a process that had the session before another.
    old_claims_are_fenced,
    /// Tokens on their way are minted anew for the transport that they go out on.
    placed_tokens_are_minted_anew,
    /// A token comes with its key.
    tokens_bring_their_keys,
    /// A checkpoint that the process gave up can be taken again.
    given_up_checkpoints_end,
    /// The token of a checkpoint fits the transport that is there when the store has answered.
    stored_tokens_fit_the_transport,
    /// A checkpoint that the store does not take costs the client no token that it may hold.
    failed_checkpoints_cost_no_token,
    /// A transport on which nothing is read any more, because the lease is over, is given up.
    late_leases_detach,
    /// A process that is to stop waits for calls that run, awaited or not.
    drains_wait_for_running_calls,
    /// The outcomes of recorded calls are kept as long as their session.
    outcomes_live_as_long_as_sessions,
}
