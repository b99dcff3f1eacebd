package render

// Mode is a way to write rows.
type Mode uint8

// The modes. Pretty is the default.
const (
	Pretty Mode = iota
	Column
	Line
	List
	CSV
	JSON
	JSONPretty
	JSONL
	Markdown
	TSV
	Expanded
	Aligned
)

var modes = [...]struct{ name, doc string }{
	Pretty:     {"pretty", "a table with borders (default)"},
	Column:     {"column", "left-aligned columns, see .width"},
	Line:       {"line", "one value per line"},
	List:       {"list", "values delimited by the separator"},
	CSV:        {"csv", "comma-separated values"},
	JSON:       {"json", "an array with one object per line, all values strings"},
	JSONPretty: {"json_pretty", "an array of indented objects, all values strings"},
	JSONL:      {"jsonl", "one JSON object per line and no array around them"},
	Markdown:   {"markdown", "a Markdown table"},
	TSV:        {"tsv", "tab-separated values with \\t \\n \\r \\\\ escaped"},
	Aligned:    {"aligned", "columns as wide as their cells, without borders"},
	Expanded:   {"expanded", "one block per row, one column per line"},
}

// Modes returns all modes, osqueryi's first.
func Modes() []Mode {
	all := make([]Mode, len(modes))
	for i := range all {
		all[i] = Mode(i)
	}
	return all
}

// ParseMode returns the mode of this name. Like osqueryi it knows "lines" and
// "columns" too.
func ParseMode(name string) (m Mode, ok bool) {
	switch name {
	case "lines":
		return Line, true
	case "columns":
		return Column, true
	}
	for i := range modes {
		if modes[i].name == name {
			return Mode(i), true
		}
	}
	return 0, false
}

// String returns the mode's name.
func (m Mode) String() string { return modes[m].name }

// Doc describes the mode in a few words.
func (m Mode) Doc() string { return modes[m].doc }

// human reports whether the mode is made to be read rather than parsed. What
// could steer a terminal is then escaped wherever the output goes, since such
// output meets a terminal sooner or later.
func (m Mode) human() bool {
	return m == Pretty || m == Aligned || m == Column || m == Expanded || m == Markdown
}
