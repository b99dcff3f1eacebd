package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sockql/shell/internal/render"
)

// A dotCommand is a command that begins with a dot. Names may be shortened to
// least characters, as osqueryi allows it; where several match, the first
// whose number of arguments fits is meant.
type dotCommand struct {
	name     string
	least    int
	min, max int // number of arguments; max -1 is any
	args     string
	doc      string
	ours     bool
	complete string // what a terminal completes: "table", "mode", "bool", "file", "command", "sql"
	run      func(s *shell, ctx context.Context, args []string) error
}

// dotCommands returns the commands in osqueryi's order of precedence.
func dotCommands() []dotCommand {
	onOff := func(field func(*shell) *bool) func(*shell, context.Context, []string) error {
		return func(s *shell, _ context.Context, args []string) error {
			*field(s) = s.boolean(args[0])
			return nil
		}
	}
	quit := func(*shell, context.Context, []string) error { return errQuit }
	return []dotCommand{
		{name: "all", least: 1, min: 1, max: 1, args: "TABLE", doc: "Select all from a table", complete: "table", run: (*shell).all},
		{name: "socket", least: 1, doc: "Show the path of osquery's extensions socket", run: (*shell).socket},
		{name: "connect", least: 1, min: 1, max: 1, args: "PATH", doc: "Have statements answered by the osquery that serves this extensions socket", run: (*shell).connect},
		{name: "disconnect", least: 1, doc: "Undo .connect", run: (*shell).disconnect},
		{name: "bail", least: 3, min: 1, max: 1, args: "ON|OFF", doc: "Stop after hitting an error", complete: "bool", run: onOff(func(s *shell) *bool { return &s.bail })},
		{name: "echo", least: 1, min: 1, max: 1, args: "ON|OFF", doc: "Turn command echo on or off", complete: "bool", run: onOff(func(s *shell) *bool { return &s.echo })},
		{name: "exit", least: 1, max: -1, args: "[CODE]", doc: "Leave, with an exit status", run: func(_ *shell, _ context.Context, args []string) error {
			if len(args) > 0 {
				if n := integer(args[0]); n != 0 {
					return exitError(n & 0xff)
				}
			}
			return errQuit
		}},
		{name: "features", least: 1, doc: "List osquery's features and their statuses", run: (*shell).features},
		{name: "headers", least: 1, min: 1, max: 1, args: "ON|OFF", doc: "Turn display of headers on or off", complete: "bool", run: onOff(func(s *shell) *bool { return &s.options.Header })},
		{name: "help", least: 1, max: -1, args: "[COMMAND|TOPIC]", doc: "Show this message, or help on a command or topic", complete: "command", run: (*shell).help},
		{name: "mode", least: 1, min: 1, max: 1, args: "MODE", doc: "Set output mode; .help modes lists them", complete: "mode", run: (*shell).mode},
		{name: "nullvalue", least: 1, min: 1, max: 1, args: "TEXT", doc: "Use TEXT in place of NULL values", run: func(s *shell, _ context.Context, args []string) error {
			s.options.Null = short(args[0])
			return nil
		}},
		{name: "print", least: 3, max: -1, args: "TEXT…", doc: "Print literal text", run: func(s *shell, _ context.Context, args []string) error {
			fmt.Fprintln(s.stdout, strings.Join(args, " "))
			return nil
		}},
		{name: "quit", least: 1, doc: "Leave", run: quit},
		{name: "schema", least: 1, max: 1, args: "[PREFIX]", doc: "Show the CREATE statements; a person also gets what columns mean", complete: "table", run: (*shell).schema},
		{name: "separator", least: 1, min: 1, max: 1, args: "TEXT", doc: "Change separator used by list and csv", run: func(s *shell, _ context.Context, args []string) error {
			s.options.Separator = short(args[0])
			return nil
		}},
		{name: "show", least: 1, doc: "Show the current values of settings", run: (*shell).show},
		{name: "summary", least: 1, doc: "Alias of .show", run: (*shell).show},
		{name: "tables", least: 2, max: 1, args: "[PREFIX]", doc: "List names of tables; a person also gets what they are", complete: "table", run: (*shell).tables},
		{name: "list", least: 2, max: 1, args: "[PREFIX]", doc: "Alias of .tables", complete: "table", run: (*shell).tables},
		{name: "timeout", least: 5, min: 1, max: 1, args: "MS", doc: "Accepted and without effect: nothing here waits for a lock", run: func(*shell, context.Context, []string) error { return nil }},
		{name: "timer", least: 5, min: 1, max: 1, args: "ON|OFF", doc: "Turn the CPU timer measurement on or off", complete: "bool", run: onOff(func(s *shell) *bool { return &s.timer })},
		{name: "types", least: 5, min: 1, max: -1, args: "SQL", doc: "Show the types of a statement's columns", run: func(s *shell, ctx context.Context, args []string) error {
			return s.types(ctx, strings.Join(args, " "))
		}},
		{name: "version", least: 1, max: -1, doc: "Show the versions of sockql and SQLite", run: (*shell).version},
		{name: "width", least: 1, min: 1, max: -1, args: "NUM…", doc: "Set column widths for \"column\" mode; a negative one aligns right", run: func(s *shell, _ context.Context, args []string) error {
			s.options.Widths = nil
			for _, a := range args {
				// Wider is of no use and would only cost memory.
				s.options.Widths = append(s.options.Widths, max(-10_000, min(10_000, integer(a))))
			}
			return nil
		}},
		{name: "describe", least: 2, min: 1, max: 1, args: "TABLE", doc: "Show columns, what narrows a scan, privilege and examples", ours: true, complete: "table", run: (*shell).describe},
		{name: "explain", least: 3, min: 1, max: -1, args: "SQL", doc: "Run a statement, and show how it was answered and what took the time", ours: true, complete: "sql", run: func(s *shell, ctx context.Context, args []string) error {
			if err := s.explainCommand(ctx, args[0]); err != nil {
				return s.failed(err, args[0])
			}
			return nil
		}},
		{name: "find", least: 2, min: 1, max: -1, args: "WORD…", doc: "Search tables and columns by name and documentation", ours: true, run: (*shell).find},
		{name: "once", least: 1, min: 1, max: 1, args: "FILE", doc: "Write the next result to a file", ours: true, complete: "file", run: (*shell).setOnce},
		{name: "output", least: 1, max: 1, args: "[FILE]", doc: "Write results to a file, or to the terminal again", ours: true, complete: "file", run: (*shell).setOutput},
		{name: "read", least: 1, min: 1, max: 1, args: "FILE", doc: "Run the statements and commands in a file", ours: true, complete: "file", run: func(s *shell, ctx context.Context, args []string) error {
			return s.readFile(ctx, args[0])
		}},
		{name: "watch", least: 3, min: 2, max: -1, args: "INTERVAL SQL", doc: "Run a statement again and again and show what changes", ours: true, run: (*shell).watchCommand},
		{name: "typed", least: 4, min: 1, max: 1, args: "ON|OFF", doc: "Keep numbers as numbers in the JSON modes", ours: true, complete: "bool", run: onOff(func(s *shell) *bool { return &s.options.Typed })},
		{name: "pager", least: 2, min: 1, max: 1, args: "ON|OFF", doc: "Show long results with a pager", ours: true, complete: "bool", run: onOff(func(s *shell) *bool { return &s.pager })},
		{name: "auto_expand", least: 2, min: 1, max: 1, args: "ON|OFF", doc: "Show tables wider than the terminal expanded", ours: true, complete: "bool", run: onOff(func(s *shell) *bool { return &s.autoExpand })},
	}
}

// dot runs a line that begins with a dot.
func (s *shell) dot(ctx context.Context, line string) error {
	words := splitDot(line[1:])
	if len(words) == 0 {
		return nil
	}
	name, args := words[0], words[1:]
	commands := dotCommands()
	for _, c := range commands {
		if len(name) < c.least || !strings.HasPrefix(c.name, name) || len(args) < c.min || c.max >= 0 && len(args) > c.max {
			continue
		}
		switch c.name { // their SQL keeps its blanks and quotes
		case "watch":
			args = rawArgs(line)
		case "explain":
			args = []string{trimSpace(strings.TrimPrefix(line[1:], name))}
		}
		return s.interruptible(ctx, func(ctx context.Context) error { return c.run(s, ctx, args) })
	}
	return s.misused(commands, name)
}

// misused says what is wrong with a dot command, in osqueryi's words. A person
// also learns what would be right, and everybody does where osqueryi has no
// such command.
func (s *shell) misused(commands []dotCommand, name string) error {
	err := fmt.Errorf("unknown command or invalid arguments:  %q. Enter \".help\" for help", name)
	var names []string
	for _, c := range commands {
		if len(name) >= c.least && strings.HasPrefix(c.name, name) && (c.ours || s.prompt) {
			return fmt.Errorf("%w\nUsage: .%s %s", err, c.name, c.args)
		}
		names = append(names, c.name)
	}
	if near := nearest(name, names); near != "" && s.prompt {
		return fmt.Errorf("%w\nDid you mean .%s?", err, near)
	}
	return err
}

// rawArgs returns the first argument of a line and the rest as it is.
func rawArgs(line string) []string {
	_, rest, _ := strings.Cut(line, " ")
	first, rest, _ := strings.Cut(trimSpace(rest), " ")
	return []string{first, trimSpace(rest)}
}

// splitDot splits the words of a dot command: quotes hold blanks, and outside
// of single quotes a backslash begins an escape as in C.
func splitDot(line string) []string {
	const most = 50 // osqueryi ignores what comes after
	var words []string
	for len(words) < most {
		line = trimSpace(line)
		if line == "" {
			break
		}
		var word string
		switch quote := line[0]; quote {
		case '\'', '"':
			end := 1
			for end < len(line) && line[end] != quote {
				if line[end] == '\\' && quote == '"' && end+1 < len(line) {
					end++
				}
				end++
			}
			word, line = line[1:end], line[min(end+1, len(line)):]
			if quote == '"' {
				word = unescape(word)
			}
		default:
			end := 0
			for end < len(line) && !isSpace(line[end]) {
				end++
			}
			word, line = unescape(line[:end]), line[end:]
		}
		words = append(words, word)
	}
	return words
}

// unescape resolves \t, \n, \r, \", \\ and \NNN.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			switch c = s[i]; {
			case c == 'n':
				c = '\n'
			case c == 't':
				c = '\t'
			case c == 'r':
				c = '\r'
			case c >= '0' && c <= '7':
				end := i + 1
				for end < len(s) && end < i+3 && s[end] >= '0' && s[end] <= '7' {
					end++
				}
				n, _ := strconv.ParseUint(s[i:end], 8, 16)
				c, i = byte(n), end-1
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// short cuts a separator or null value to the 19 bytes that osqueryi keeps.
func short(s string) string { return s[:min(len(s), 19)] }

// integer reads a number as osqueryi does: digits, hexadecimal ones, a suffix;
// what is no number is 0.
func integer(s string) int {
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimLeft(s[:min(len(s), 1)], "+-") + s[min(len(s), 1):]
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		end := 0
		for end < len(hex) && strings.IndexByte("0123456789abcdefABCDEF", hex[end]) >= 0 {
			end++
		}
		n, _ := strconv.ParseInt(hex[:end], 16, 64)
		return sign(int(n), negative)
	}
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ := strconv.Atoi(s[:end])
	for i, suffix := range [...]string{"k", "m", "g"} {
		for _, unit := range [...]struct {
			text string
			base int
		}{{suffix + "ib", 1024}, {suffix + "b", 1000}, {suffix, 1000}} {
			if strings.EqualFold(s[end:], unit.text) {
				for range i + 1 {
					n *= unit.base
				}
				return sign(n, negative)
			}
		}
	}
	return sign(n, negative)
}

func sign(n int, negative bool) int {
	if negative {
		return -n
	}
	return n
}

// boolean reads ON or OFF, or a number. What is neither counts as off.
func (s *shell) boolean(text string) bool {
	if text != "" && strings.Trim(text, "0123456789") == "" {
		return integer(text) != 0
	}
	switch strings.ToLower(text) {
	case "on":
		return true
	case "off":
		return false
	}
	value, ok := parseBool(text)
	if !ok {
		fmt.Fprintf(s.stderr, "ERROR: Not a boolean value: %q. Assuming \"no\".\n", text)
	}
	return value
}

func modeNames() []string {
	var names []string
	for _, m := range render.Modes() {
		names = append(names, m.String())
	}
	return names
}

func (s *shell) mode(_ context.Context, args []string) error {
	m, ok := render.ParseMode(args[0])
	if !ok {
		// osqueryi's words, to which a line with our own modes belongs only
		// where a person reads it.
		if s.prompt {
			return fmt.Errorf("mode should be one of: %s; got %q", strings.Join(sorted(modeNames()), " "), args[0])
		}
		return errors.New("mode should be one of: column csv line list pretty")
	}
	s.options.Mode = m
	if m == render.CSV {
		s.options.Separator = ","
	}
	return nil
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
