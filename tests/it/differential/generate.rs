//! Random programs of messages, which are the same for the same seed.

use super::values::Random;

/// A message, and the difference that it may cause.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) text: String,
    /// An id of `programs.md`. After such a message, one of the two sessions may have ended.
    pub(super) allowed: Option<&'static str>,
}

/// A program that is being generated. Its messages refer to ids that may exist, and sometimes to others.
pub(super) struct Program {
    random: Random,
    steps: Vec<Step>,
    /// The number of pushes, streams, and pipes so far, which are the ids of the client's imports.
    pushed: u64,
    /// The ids that are streams. They are released by their reply, and the package ends a session that releases
    /// one earlier.
    streams: Vec<u64>,
    /// The number of the client's exports so far, and which of them are promises and objects.
    exported: u64,
    promises: Vec<u64>,
    objects: Vec<u64>,
    /// Set by a value that causes a difference.
    allowed: Option<&'static str>,
    /// Whether a value may contain a promise of the client. The package pulls a promise again, by a call of its
    /// own, whenever it copies a value that it keeps.
    is_argument: bool,
    /// Whether the value is a reply, which must not contain results of the server: the package never terminates on
    /// a reply that leads back to itself.
    is_answer: bool,
}

/// The maximum number of messages of a program, without the pulls at its end.
const STEPS: u64 = 24;

/// Values that no peer can construct.
const MALFORMED: &[&str] = &[
    r#"["bigint","x"]"#,
    r#"["bytes","AAA","Int32Array"]"#,
    r#"["url","x"]"#,
    r#"["headers",[["a b","c"]]]"#,
    r#"["request","https://a/",{"mode":"navigate"}]"#,
    r#"["request","/",{}]"#,
    r#"["request","https://a/",{"body":"x"}]"#,
    r#"["response","x",{"status":204}]"#,
    r#"["response",null,{"status":99}]"#,
];

/// Messages that Bowline refuses and the package accepts.
const STRICT: &[(&str, &str)] = &[
    (r#"["push",["export",5]]"#, "ids"),
    (r#"["push",["promise",-0.5]]"#, "ids"),
    (r#"["release",0,-1]"#, "release-counts"),
    (r#"["release",0,0.5]"#, "release-counts"),
];

/// Messages that end a session.
const BROKEN: &[&str] = &[
    "",
    "{",
    "[]",
    "5",
    r#"["what",1]"#,
    r#"["push"]"#,
    r#"["pull","1"]"#,
    r#"["pull",99]"#,
    r#"["release",99,0]"#,
    r#"["release",0]"#,
    r#"["push",["what"]]"#,
    r#"["push",[1]]"#,
    r#"["push",["pipeline",0,["echo"],[1],2]]"#,
    r#"["push",["import",0,[],[],[]]]"#,
    r#"["push",["pipeline",0,[null],[]]]"#,
    r#"["push",["date","x"]]"#,
    r#"["push",["error","E"]]"#,
    r#"["push",["remap",0,[],[]]]"#,
    r#"["abort",1]"#,
];

// Without names that every object inherits: the package answers those without looking at the object, so they are
// undefined even on a result that has failed.
const METHODS: [&str; 16] = [
    "echo", "list", "counter", "fail", "later", "pair", "finish", "fault", "apply", "hold", "inc", "peer", "nope",
    "missing", "echo", "later",
];
const PROPERTIES: [&str; 12] =
    ["tools", "gauge", "held", "value", "deep", "list", "n", "counter", "none", "a", "c", "b"];
const NAMES: [&str; 3] = ["\"x\"", "\"y\"", "\"z\""];

impl Program {
    pub(super) fn of_seed(seed: u64) -> Vec<Step> {
        let mut program = Self {
            random: Random(seed),
            steps: Vec::new(),
            pushed: 0,
            streams: Vec::new(),
            exported: 0,
            promises: Vec::new(),
            objects: Vec::new(),
            allowed: None,
            is_argument: false,
            is_answer: false,
        };
        let steps = 3 + program.random.below(STEPS - 2);
        for _ in 0..steps {
            let text = program.message();
            let allowed = program.allowed.take();
            program.steps.push(Step { text, allowed });
        }
        // Pulls the first results at the end.
        for id in 1..=program.pushed.min(6) {
            program.steps.push(Step { text: format!("[\"pull\",{id}]"), allowed: None });
        }
        program.steps
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.below(n)
    }

    fn message(&mut self) -> String {
        match self.below(200) {
            0 => (*self.random.pick(BROKEN)).to_owned(),
            1 => {
                let (text, id) = *self.random.pick(STRICT);
                self.allowed = Some(id);
                self.pushed += 1;
                text.to_owned()
            }
            2..=99 => {
                let call = self.call(2);
                self.push(&call)
            }
            100..=114 => {
                let value = self.value(3);
                self.push(&value)
            }
            115..=124 => {
                let map = self.map();
                self.push(&map)
            }
            125..=149 => {
                let id = self.id();
                format!("[\"pull\",{id}]")
            }
            150..=164 => {
                let id = match 1 + self.below(self.pushed + 1) {
                    id if self.streams.contains(&id) => 0,
                    id => id,
                };
                let count = if id == 0 || self.below(8) == 0 { 0 } else { 1 };
                format!("[\"release\",{id},{count}]")
            }
            165..=189 => self.answer(),
            _ => {
                let call = self.call(2);
                self.pushed += 1;
                self.streams.push(self.pushed);
                format!("[\"stream\",{call}]")
            }
        }
    }

    fn push(&mut self, expr: &str) -> String {
        self.pushed += 1;
        format!("[\"push\",{expr}]")
    }

    /// Generates the resolution of a promise of the client, or the reply to a call on one of its functions.
    fn answer(&mut self) -> String {
        let id = match self.below(3) {
            0 if !self.promises.is_empty() => -(*self.random.pick(&self.promises) as i64),
            _ => 1 + self.below(3) as i64,
        };
        if self.below(4) == 0 {
            // Without references, because the package keeps those of a rejection that it ignores.
            let reason = sent_value(&mut self.random);
            return format!("[\"reject\",{id},{reason}]");
        }
        self.is_answer = true;
        let value = self.value(2);
        self.is_answer = false;
        format!("[\"resolve\",{id},{value}]")
    }

    /// Returns the id of a pushed result, in one of its spellings.
    fn result(&mut self) -> String {
        let id = if self.pushed == 0 { 1 } else { 1 + self.below(self.pushed) };
        match self.below(30) {
            0 => format!("{id}.0"),
            1 => format!("{id}e0"),
            2 => format!("{id}0e-1"),
            _ => id.to_string(),
        }
    }

    /// Returns the id of the root object, a result, or an object that the server may have exported.
    fn id(&mut self) -> String {
        match self.below(10) {
            0..=3 => "0".to_owned(),
            4..=8 if self.pushed > 0 => self.result(),
            _ => (-(1 + self.below(3) as i64)).to_string(),
        }
    }

    fn step(&mut self) -> String {
        match self.below(8) {
            0 => self.below(3).to_string(),
            1 => "1.0".to_owned(),
            _ => format!("\"{}\"", self.random.pick(&PROPERTIES)),
        }
    }

    fn path(&mut self, max: u64) -> Vec<String> {
        (0..self.below(max + 1)).map(|_| self.step()).collect()
    }

    fn call(&mut self, depth: u64) -> String {
        let on = self.id();
        let mut path = if self.below(3) == 0 { self.path(2) } else { Vec::new() };
        if self.below(4) == 0 && !path.is_empty() {
            return format!("[\"pipeline\",{on},[{}]]", path.join(","));
        }
        let method = *self.random.pick(&METHODS);
        path.push(format!("\"{method}\""));
        let args = self.arguments(method, depth);
        format!("[\"pipeline\",{on},[{}],[{}]]", path.join(","), args.join(","))
    }

    fn arguments(&mut self, method: &str, depth: u64) -> Vec<String> {
        let before = std::mem::replace(&mut self.is_argument, method == "list");
        let arguments = self.arguments_of(method, depth);
        self.is_argument = before;
        arguments
    }

    fn arguments_of(&mut self, method: &str, depth: u64) -> Vec<String> {
        match method {
            "later" | "pair" | "fault" | "fail" => vec![(*self.random.pick(&NAMES)).to_owned()],
            "finish" => {
                let name = (*self.random.pick(&NAMES)).to_owned();
                let value = if self.below(2) == 0 { "\"counter\"".to_owned() } else { self.value(depth) };
                vec![name, value]
            }
            "apply" => vec![self.export(), self.value(depth)],
            "inc" | "counter" => vec![self.below(9).to_string()],
            "list" => (0..self.below(4)).map(|_| self.value(depth)).collect(),
            _ => vec![self.value(depth)],
        }
    }

    /// Generates a reference to an object of the client, new or known.
    fn export(&mut self) -> String {
        if self.objects.is_empty() || self.below(3) > 0 {
            self.exported += 1;
            self.objects.push(self.exported);
        }
        format!("[\"export\",-{}]", self.random.pick(&self.objects))
    }

    fn map(&mut self) -> String {
        let on = self.id();
        let path = self.path(2).join(",");
        let body = match self.below(5) {
            0 => "[\"pipeline\",0]".to_owned(),
            1 => "[\"pipeline\",0,[\"inc\"],[1]]".to_owned(),
            2 => "[\"pipeline\",-1,[\"list\"],[[\"pipeline\",0],7]]".to_owned(),
            3 => "{\"a\":[\"pipeline\",0],\"b\":[[1]]}".to_owned(),
            _ => "[\"pipeline\",0,[\"n\"]]".to_owned(),
        };
        format!("[\"remap\",{on},[{path}],[[\"import\",0]],[{body}]]")
    }

    fn value(&mut self, depth: u64) -> String {
        if depth > 0 && self.below(3) == 0 {
            let items: Vec<String> = (0..self.below(4)).map(|_| self.value(depth - 1)).collect();
            if self.below(2) == 0 {
                return format!("[[{}]]", items.join(","));
            }
            let names = ["a", "n", "list", "counter", "toString", "0"];
            let members: Vec<String> =
                items.iter().zip(names).map(|(item, name)| format!("\"{name}\":{item}")).collect();
            return format!("{{{}}}", members.join(","));
        }
        match self.below(40) {
            0 => {
                self.allowed = Some("malformed-values");
                (*self.random.pick(MALFORMED)).to_owned()
            }
            1..=3 => self.export(),
            4 if self.is_argument => {
                self.exported += 1;
                self.promises.push(self.exported);
                format!("[\"promise\",-{}]", self.exported)
            }
            5..=10 if self.pushed > 0 && !self.is_answer => {
                let of = self.result();
                format!("[\"pipeline\",{of}]")
            }
            11..=13 if self.pushed > 0 && !self.is_answer => {
                let (of, path) = (self.result(), self.path(2).join(","));
                format!("[\"pipeline\",{of},[{path}]]")
            }
            14 | 15 if depth > 0 && !self.is_answer => self.call(depth - 1),
            16 => "[\"import\",0]".to_owned(),
            17..=22 => sent_value(&mut self.random),
            23 => "[\"error\",\"RangeError\",\"m\",null,{\"a\":[[1]],\"stack\":[\"x\"],\"name\":5}]".to_owned(),
            24 => "[\"url\",\"https://ex.com/\"]".to_owned(),
            _ => self.below(100).to_string(),
        }
    }
}

/// Returns a value as Bowline encodes it.
fn sent_value(random: &mut Random) -> String {
    const VALUES: [&str; 14] = [
        "null",
        "true",
        "\"text\"",
        "-1.5",
        "[\"undefined\"]",
        "[\"nan\"]",
        "[\"-inf\"]",
        "[\"bigint\",\"-12\"]",
        "[\"date\",1749342170815]",
        "[\"date\",null]",
        "[\"bytes\",\"AQI\"]",
        "[\"bytes\",\"AQIDBA\",\"Int16Array\"]",
        "[\"headers\",[[\"a\",\"1\"]]]",
        "[\"error\",\"TypeError\",\"m\",null,{\"code\":1}]",
    ];
    (*random.pick(&VALUES)).to_owned()
}
