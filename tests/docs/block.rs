//! Fenced blocks of a Markdown page, with their places.

/// One fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// The page and the line of its fence, from 1.
    pub(crate) page: String,
    pub(crate) line: usize,
    words: Vec<String>,
    /// Its lines, without the indent of its fence.
    pub(crate) lines: Vec<String>,
}

/// One command of a `console` block.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) expected: Vec<String>,
}

const HOW: [&str; 10] = [
    "console", "ask", "answer", "config", "issuer", "tests", "policy", "refused", "help", "text",
];

impl Block {
    /// All blocks of a page; an unknown or missing info string, or an open fence, is a fault of the page.
    pub(crate) fn all(page: &str, text: &str) -> Result<Vec<Block>, String> {
        let mut blocks = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let fence = line.trim_start();
            let Some(info) = fence.strip_prefix("```") else {
                continue;
            };
            let indent = line.len() - fence.len();
            let words = info.split_whitespace().map(str::to_owned).collect();
            let mut block = Block {
                page: page.to_owned(),
                line: number + 1,
                words,
                lines: Vec::new(),
            };
            if !HOW
                .iter()
                .any(|how| block.has(how) || block.value(how).is_some())
            {
                return Err(
                    block.fault(0, "say what is done with this block, or that it is `text`")
                );
            }
            loop {
                match lines.next() {
                    None => return Err(block.fault(0, "this block has no end")),
                    Some((_, line)) if line.trim_start() == "```" => break,
                    Some((_, line)) => block
                        .lines
                        .push(line.get(indent..).unwrap_or_default().to_owned()),
                }
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Whether `word` stands in the info string.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|said| said == word)
    }

    /// `VALUE` of `name=VALUE`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.words
            .iter()
            .find_map(|said| said.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn is_text(&self) -> bool {
        self.has("text") && self.value("help").is_none()
    }

    pub(crate) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// Commands and what they print.
    pub(crate) fn steps(&self) -> Result<Vec<Step>, String> {
        let mut steps: Vec<Step> = Vec::new();
        for (offset, line) in self.lines.iter().enumerate() {
            if let Some(command) = line.strip_prefix("$ ") {
                let line = self.line + offset + 1;
                steps.push(Step {
                    line,
                    command: command.to_owned(),
                    expected: Vec::new(),
                });
                continue;
            }
            let Some(step) = steps.last_mut() else {
                return Err(self.fault(offset + 1, "a `console` block begins with `$ `"));
            };
            match line.strip_prefix("> ") {
                Some(more) if step.expected.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => step.expected.push(line.clone()),
            }
        }
        Ok(steps)
    }

    /// `PAGE:LINE: text`, `offset` lines below the fence.
    pub(crate) fn fault(&self, offset: usize, text: impl std::fmt::Display) -> String {
        format!("{}:{}: {text}", self.page, self.line + offset)
    }
}
