//! The tokens of a session and the keys that belong to them, minted, placed and accepted in the order
//! in which the registry of `bowline-server` does it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bowline_core::endpoint::Endpoint;
use bowline_core::link::{Secret, Ticket};
use bowline_core::resume::{Claims, Jti, Key, KeyRing, Owner, TokenPolicy, prove, resume_key};
use bowline_core::time::UnixTime;

use super::rules::Rules;

const AUDIENCE: &str = "simulated";
const NOW: UnixTime = UnixTime(1_700_000_000);
const CHALLENGE: &str = "challenge";

/// Tokens that count at the same time, where those beyond push out others.
const PUSHED_OUT_FROM: usize = 16;

/// A token and its key, as a client holds them.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    token: Secret,
    key: Secret,
}

impl Holding {
    /// Takes what a frame brought. A key that is not said is the one before.
    pub(crate) fn of(ticket: Ticket, before: Option<&Self>) -> Self {
        let key = ticket.resume_key.or_else(|| before.map(|before| before.key.clone()));
        Self { token: ticket.resume_token, key: key.expect("the first token comes with its key") }
    }
}

/// The keys, which all processes share, and names for tokens.
pub(crate) struct Mint {
    keys: KeyRing,
    policy: TokenPolicy,
    named: u64,
}

impl Mint {
    pub(crate) fn new() -> Self {
        let mut policy = TokenPolicy::default();
        policy.inline_bytes = 0;
        Self { keys: KeyRing::new(Self::key(0)), policy, named: 0 }
    }

    fn key(number: u64) -> Key {
        Key::new(number.to_string(), &[number as u8; 32]).expect("it is long enough")
    }

    fn name(&mut self) -> Jti {
        self.named += 1;
        Jti(self.named.to_string())
    }

    /// Signs with another key from now on. Those before are accepted.
    pub(crate) fn rotate(&mut self) {
        self.named += 1;
        self.keys = self.keys.clone().rotate(Self::key(self.named)).expect("the name is new");
    }

    fn mint(&self, claims: &mut Claims) -> Ticket {
        let resume_token = self.keys.mint(claims, &self.policy, NOW);
        Ticket { resume_token, resume_key: Some(resume_key(&self.keys, claims)) }
    }

    /// What a client presents that holds this, with the proof that it makes.
    pub(crate) fn open(&self, holding: &Holding) -> Claims {
        let Holding { token, key } = holding;
        let claims = self.keys.open(token.expose(), AUDIENCE, NOW).expect("I15 a token is as it was minted");
        let proof = prove(key, CHALLENGE, token, 0);
        self.keys.check_proof(&claims, CHALLENGE, token, 0, &proof).expect("I14 the key belongs to the token");
        claims
    }
}

/// The token of a checkpoint that is being stored.
pub(crate) struct Candidate {
    claims: Claims,
    ticket: Ticket,
}

/// Which tokens of a session count, in the process that has it.
pub(crate) struct Issuer {
    owner: Owner,
    claims: Claims,
    /// What the tokens claim that are on their way; before them the newest that the client has.
    placed: VecDeque<Claims>,
    /// Tokens that were pushed out by others: none, as long as rules hold.
    pushed_out: BTreeSet<String>,
}

impl Issuer {
    pub(crate) fn new(mint: &mut Mint) -> Self {
        let claims = Claims::new("s", "ann", AUDIENCE, NOW);
        let owner = Owner::new(mint.name());
        Self { owner, claims, placed: VecDeque::new(), pushed_out: BTreeSet::new() }
    }

    /// In another process, of which the store knows these tokens.
    pub(crate) fn restored(
        mint: &mut Mint,
        (known_epoch, tokens): (u64, Vec<Jti>),
        presented: &Claims,
        epoch: u64,
    ) -> Self {
        let owner = Owner::restore(known_epoch, tokens, presented, epoch, mint.name());
        let claims = Claims { ln: presented.ln + 1, ..presented.clone() };
        let owner = owner.expect("I14 what the client holds counts in every process");
        Self { owner, claims, placed: VecDeque::new(), pushed_out: BTreeSet::new() }
    }

    /// The token that goes out with the newest transport.
    pub(crate) fn hand_out(&mut self, mint: &Mint) -> Ticket {
        (self.claims.ep, self.claims.jti) = (self.owner.epoch(), self.owner.connection_token().clone());
        mint.mint(&mut self.claims)
    }

    /// The session has changed its transport, for a client that presented this. `is_heard` is
    /// whether it had spoken on the one before.
    pub(crate) fn resume(
        &mut self,
        mint: &mut Mint,
        presented: &Claims,
        is_heard: bool,
        endpoint: &mut Endpoint,
        rules: &Rules,
    ) -> Ticket {
        if is_heard {
            self.owner.confirm();
        }
        let name = mint.name();
        assert!(!self.pushed_out.contains(&presented.jti.0), "I14 what the client holds counts");
        self.owner.claim(&presented.jti, name).expect("I14 what the client holds counts");
        self.claims = presented.clone();
        let ticket = self.hand_out(mint);
        if rules.placed_tokens_are_minted_anew {
            let waiting = endpoint.unconfirmed_checkpoints();
            let mut tickets = BTreeMap::new();
            for claims in self.placed.iter_mut().filter(|claims| waiting.contains(&claims.ck)) {
                (claims.ep, claims.jti) = (self.owner.epoch(), self.owner.renew(mint.name()));
                tickets.insert(claims.ck, mint.mint(claims));
            }
            assert_eq!(tickets.len(), waiting.len(), "I14 each token on its way is known");
            endpoint.replace_tokens(tickets);
        }
        ticket
    }

    /// The token of a checkpoint, and what the store has to know: the epoch, and the tokens that will
    /// count.
    pub(crate) fn candidate(
        &mut self,
        mint: &mut Mint,
        endpoint: &Endpoint,
        (lineage, number): (u64, u64),
        rules: &Rules,
    ) -> (Candidate, u64, Vec<Jti>) {
        if endpoint.has_heard() {
            self.owner.confirm();
        }
        let confirmed = endpoint.confirmed_checkpoint();
        while self.placed.front().is_some_and(|claims| claims.ck < confirmed) {
            self.placed.pop_front();
        }
        if let Some(newest) = self.placed.front().filter(|claims| claims.ck == confirmed) {
            self.owner.confirm_renewed(&newest.jti);
        }
        let mut claims = self.claims.clone();
        (claims.ep, claims.jti) = (self.owner.epoch(), mint.name());
        (claims.ln, claims.ck) = (lineage, number);
        let ticket = mint.mint(&mut claims);
        let mut tokens = self.owner.tokens_with(&claims.jti);
        if !rules.stored_tokens_fit_the_transport {
            self.owner.renew(claims.jti.clone());
        }
        if !rules.failed_checkpoints_cost_no_token {
            self.owner.renew(claims.jti.clone());
            self.push_out();
            tokens.retain(|token| !self.pushed_out.contains(&token.0));
        }
        (Candidate { claims, ticket }, self.owner.epoch(), tokens)
    }

    /// The oldest token but one does not count any more.
    fn push_out(&mut self) {
        let counts: Vec<_> = self.owner.tokens().filter(|token| !self.pushed_out.contains(&token.0)).collect();
        if counts.len() > PUSHED_OUT_FROM {
            self.pushed_out.insert(counts[1].0.clone());
        }
    }

    /// The checkpoint is stored: its token counts, and goes to the client.
    pub(crate) fn place(&mut self, mint: &Mint, candidate: Candidate, endpoint: &mut Endpoint, rules: &Rules) {
        let Candidate { mut claims, mut ticket } = candidate;
        if !rules.stored_tokens_fit_the_transport {
            self.placed.push_back(claims);
            return endpoint.stored(ticket, None);
        }
        let name = self.owner.renew(claims.jti.clone());
        let is_of_transport = (claims.ep, &claims.jti) == (self.owner.epoch(), &name);
        if !is_of_transport {
            (claims.ep, claims.jti) = (self.owner.epoch(), name);
            ticket = mint.mint(&mut claims);
        }
        if !rules.tokens_bring_their_keys {
            ticket.resume_key = None;
        }
        self.placed.push_back(claims);
        endpoint.stored(ticket, None);
    }
}
