package shell

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"sockql/shell/internal/render"
)

// A topic is a page of help: .help TOPIC, sockql help TOPIC, and a section of
// the man page.
type topic struct {
	name, title string
	paragraphs  []string
	// examples are shown as they are.
	examples []string
}

func topics() []topic {
	var modes []string
	for _, m := range render.Modes() {
		modes = append(modes, fmt.Sprintf("%-12s %s", m, m.Doc()))
	}
	return []topic{
		{
			name: "sql", title: "Writing SQL",
			paragraphs: []string{
				"The dialect is SQLite's, with osquery's functions and sockql's own such as service_name(port, protocol), ip_in(address, cidr) and is_private(address). Tables are read-only; CREATE VIEW and CREATE TEMP TABLE last as long as the shell.",
				"A condition on a column that .describe marks with \"narrows the scan\" saves the work of reading the rest. Hidden columns are there when they are named.",
			},
			examples: []string{
				"SELECT pid, local_port, state FROM process_open_sockets WHERE state = 'LISTEN';",
				"SELECT p.name, s.local_address, s.local_port FROM socket_states s JOIN processes p USING (pid) WHERE s.is_listener = 1;",
			},
		},
		{
			name: "modes", title: "Output modes",
			paragraphs: []string{
				"A mode is set by --mode, by a flag of its own name, or by .mode. The modes are listed below.",
				"Values of json, json_pretty and jsonl are strings unless --typed keeps numbers as numbers. --csv separates with --separator, which is | unless it is set, as in osqueryi; .mode csv separates with a comma.",
				"On a terminal, and in pretty, aligned, column, expanded and markdown everywhere, control characters and invalid UTF-8 in data are shown as \\x1b, \\u202e and the like.",
			},
			examples: modes,
		},
		{
			name: "prompt", title: "The prompt",
			paragraphs: []string{
				"A statement ends with a semicolon and may take several lines. Tab completes tables, columns of the statement's tables, functions, dot commands and their arguments. Ctrl-R searches the history, Ctrl-C stops a running statement or drops a line, Ctrl-D leaves.",
				"History is kept in ~/.local/state/sockql/history ($XDG_STATE_HOME). The file ~/.config/sockql/rc ($XDG_CONFIG_HOME) is run before the first prompt if it belongs to the user and nobody else may write it; --norc leaves it alone.",
				"Results longer than the screen go through $SOCKQL_PAGER, $PAGER or less; --nopager turns that off. NO_COLOR or --color=never turns colours off.",
			},
		},
		{
			name: "explain", title: "Why a statement is slow",
			paragraphs: []string{
				".explain SQL and --explain run a statement and show, in place of its rows, how it was answered: its loops from the outside in, and for each table that it reads the source, how often it was scanned, how many rows it gave, how many of them passed the conditions that SQLite checked itself (where that can be told), and the time that the table took. Output modes other than pretty and aligned get the same as rows: one for each scan and step, and at the end SQLite's time and the total.",
				"\"pushed\" are the conditions that the table was given, \"reached\" the columns whose conditions the source itself could use, so that the rest was never collected. A line \"SQLite\" names a condition that did not reach the table, and why. \"copies\" and \"snapshots\" count scans that were answered from what had been read before.",
				"EXPLAIN and EXPLAIN QUERY PLAN before a statement are SQLite's own.",
			},
			examples: []string{
				"sockql --explain \"SELECT name FROM processes JOIN listening_ports USING (pid) WHERE port < 1024\"",
				"sockql --json --explain \"SELECT count(*) FROM socket_states\"",
			},
		},
		{
			name: "watch", title: "Live views",
			paragraphs: []string{
				".watch INTERVAL SQL and --watch INTERVAL run a statement again and again. A terminal shows the rows in place, new ones marked with + and gone ones with -; Ctrl-C ends it. Elsewhere each change is a line of JSON with action, unixTime and columns.",
			},
			examples: []string{
				"sockql --watch 1s \"SELECT pid, remote_address FROM process_open_sockets WHERE state = 'ESTABLISHED'\"",
				"sockql conns --watch 2s",
			},
		},
		{
			name: "questions", title: "Ready questions",
			paragraphs: []string{
				"Each is one statement, which --sql shows; all flags for output apply. --resolve adds names of remote addresses, which are looked up after the statement is done.",
			},
			examples: questionLines(),
		},
		{
			name: "exit", title: "Exit status",
			paragraphs: []string{
				"0; SQLite's result code for a statement on the command line that failed (1 for most errors, 19 for a missing required column, 23 where SQL is not authorized); 1 for errors in piped input and wrong flags; N after .exit N; 130 after Ctrl-C.",
			},
		},
		{
			name: "osqueryi", title: "In osqueryi's place",
			paragraphs: []string{
				"Flags, dot commands, output and exit statuses are those of osqueryi, so that a symbolic link named osqueryi serves scripts made for it. A command of that name has no ready questions and no subcommands. Flags of osqueryd that have no work to do in a shell are accepted.",
			},
		},
	}
}

func questionLines() []string {
	var lines []string
	for _, q := range questions() {
		lines = append(lines, fmt.Sprintf("sockql %-9s %s", strings.TrimSpace(q.name+" "+q.arg), q.doc))
	}
	return lines
}

func topicNames() []string {
	var names []string
	for _, t := range topics() {
		names = append(names, t.name)
	}
	return names
}

// builtins are the commands that need no engine.
func builtins() []Subcommand {
	return []Subcommand{
		{Name: "help", Summary: "show help on a topic or a command"},
		{Name: "completion", Summary: "print the completion script for bash, zsh or fish"},
		{Name: "man", Summary: "print the manual page, for man -l -"},
	}
}

// builtin runs such a command and reports whether the arguments name one.
func builtin(c *Config, args []string) (status int, ok bool) {
	var err error
	switch args[0] {
	case "help":
		switch len(args) {
		case 1:
			writeUsage(c.Stdout, c, "sockql", false)
		case 2:
			err = writeTopic(c.Stdout, args[1])
		default:
			err = &usageError{message: fmt.Sprintf("help: %d arguments given", len(args)-1), hint: "Usage: sockql help [TOPIC]"}
		}
	case "completion":
		if len(args) != 2 {
			err = &usageError{message: "completion: no shell given", hint: "Usage: sockql completion bash|zsh|fish"}
		} else {
			err = writeCompletion(c.Stdout, c, args[1])
		}
	case "man":
		if len(args) != 1 {
			err = &usageError{message: "man: takes no argument"}
		} else {
			writeManual(c.Stdout, c)
		}
	default:
		return 0, false
	}
	if err != nil {
		fmt.Fprintln(c.Stderr, err)
		return 1, true
	}
	return 0, true
}

// help prints the dot commands, or what is known of a command or a topic.
func (s *shell) help(_ context.Context, args []string) error {
	if len(args) > 0 {
		return s.page(func(w io.Writer) {
			if err := writeTopic(w, args[0]); err != nil {
				fmt.Fprintln(w, err)
			}
		})
	}
	// osqueryi's help goes to standard error.
	fmt.Fprintf(s.stderr, "Welcome to the sockql shell. Statements end with a semicolon.\n\n")
	for _, d := range dotCommands() {
		fmt.Fprintf(s.stderr, ".%-24s %s\n", strings.TrimSpace(d.name+" "+d.args), d.doc)
	}
	fmt.Fprintf(s.stderr, "\nCommands may be shortened. More: .help %s\n", strings.Join(topicNames(), "|"))
	return nil
}

// writeTopic prints the page of a topic, a dot command or a flag.
func writeTopic(w io.Writer, name string) error {
	name = strings.TrimLeft(name, ".-")
	for _, t := range topics() {
		if t.name == name {
			fmt.Fprintln(w, t.title)
			for _, p := range t.paragraphs {
				fmt.Fprintf(w, "\n%s\n", wrap(p, 78, ""))
			}
			if len(t.examples) > 0 {
				fmt.Fprintln(w)
			}
			for _, e := range t.examples {
				fmt.Fprintf(w, "  %s\n", e)
			}
			return nil
		}
	}
	for _, d := range dotCommands() {
		if d.name == name {
			fmt.Fprintf(w, "%s\n\n%s\n", strings.TrimSpace("."+d.name+" "+d.args), wrap(d.doc+".", 78, ""))
			if d.least < len(d.name) {
				fmt.Fprintf(w, "\nIt may be shortened to .%s.\n", d.name[:d.least])
			}
			return nil
		}
	}
	if d := findFlag(name); d != nil && d.doc != "" {
		fmt.Fprintf(w, "%s\n\n%s\n", flagForm(*d), wrap(d.doc+".", 78, ""))
		return nil
	}
	return &usageError{message: fmt.Sprintf("no help on %q", name), hint: "Topics: " + strings.Join(topicNames(), " ")}
}

// flagForm writes a flag as the help shows it.
func flagForm(d flagDef) string {
	form := "--" + d.name
	if len(d.name) == 1 {
		form = "-" + d.name
	}
	if d.arg != "" {
		form += " " + d.arg
	}
	if d.kind == boolFlag && d.value == "true" {
		form = "--[no]" + d.name
	}
	return form
}

// flagDoc writes what a flag does, and its default.
func flagDoc(d flagDef) string {
	doc := d.doc
	if d.kind == boolFlag && d.value == "true" {
		doc += " (default on)"
	}
	if len(d.choices) > 0 {
		doc += ": " + strings.Join(d.choices, ", ")
	}
	if d.kind == stringFlag && d.value != "" {
		doc += fmt.Sprintf(" (default %s)", d.value)
	}
	return doc
}

// documented returns the flags of the help, without those that do nothing.
func documented(compatible bool) []flagDef {
	return slices.DeleteFunc(slices.Clone(flagDefs), func(d flagDef) bool {
		return d.use != effective || compatible && d.name == "sql"
	})
}

// commands returns all words that may be the first argument.
func commands(c *Config) []Subcommand {
	var all []Subcommand
	for _, q := range questions() {
		all = append(all, Subcommand{Name: strings.TrimSpace(q.name + " " + q.arg), Summary: q.doc})
	}
	return append(append(all, c.Subcommands...), builtins()...)
}

func writeUsage(w io.Writer, c *Config, name string, compatible bool) {
	fmt.Fprintf(w, "Usage: %[1]s [flags] ['SQL']      a statement, standard input or a prompt\n", name)
	if !compatible {
		fmt.Fprintf(w, "       %[1]s [flags] COMMAND\n\nCommands:\n", name)
		for _, sub := range commands(c) {
			fmt.Fprintf(w, "  %-14s %s\n", sub.Name, sub.Summary)
		}
	}
	for _, ours := range []bool{false, true} {
		if ours {
			fmt.Fprintln(w, "\nFlags of sockql:")
		} else {
			fmt.Fprintln(w, "\nFlags of osqueryi:")
		}
		for _, d := range documented(compatible) {
			if d.ours == ours {
				fmt.Fprintf(w, "  %-24s %s\n", flagForm(d), wrap(flagDoc(d), 78-27, strings.Repeat(" ", 27)))
			}
		}
	}
	fmt.Fprintf(w, "\nFlags begin with one or two dashes; --x=value, --x value, --nox. %s\n", "Flags of osqueryd\nthat have no work to do here are accepted.")
	if !compatible {
		fmt.Fprintf(w, "More: %s help %s\n", name, strings.Join(topicNames(), "|"))
	}
}

// wrap breaks a text into lines of at most width characters, the later ones
// indented.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteString("\n" + indent)
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
