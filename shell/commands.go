package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"sockql/engine"
	"sockql/shell/internal/render"
	"sockql/tables"
)

func (s *shell) all(ctx context.Context, args []string) error {
	// osqueryi takes the argument as it is, so it may carry a WHERE.
	err := s.exec(ctx, "SELECT * FROM "+args[0])
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if s.prompt {
		fmt.Fprintf(s.stderr, "Error: %s\n", message(err))
	} else {
		// osqueryi keeps the reason to itself.
		fmt.Fprintf(s.stderr, "Error querying table: %s\n", args[0])
	}
	return &statusError{errSaid, code(err)}
}

// A statusError ends a one-shot command with a status of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// features lists osqueryi's switches. sockql has none of what they switch on.
func (s *shell) features(context.Context, []string) error {
	for _, name := range sorted(featureNames()) {
		fmt.Fprintf(s.stdout, "%s: %s\n", name, s.flags.string(name))
	}
	return nil
}

func featureNames() []string {
	var names []string
	for _, d := range flagDefs {
		if d.kind == boolFlag && (strings.HasPrefix(d.name, "disable_") || strings.HasPrefix(d.name, "enable_")) {
			names = append(names, d.name)
		}
	}
	return names
}

func (s *shell) version(context.Context, []string) error {
	s.printVersion()
	return nil
}

func (s *shell) printVersion() {
	fmt.Fprintf(s.stdout, "sockql %s\nusing SQLite %s\n", s.config.Version, engine.SQLiteVersion())
}

func (s *shell) show(context.Context, []string) error {
	s.printVersion()
	output := "stdout"
	if s.output != nil {
		output = s.output.Name()
	}
	fmt.Fprintln(s.stdout, "\nShell settings:")
	for _, setting := range [][2]string{
		{"auto_expand", onOff(s.autoExpand)},
		{"bail", onOff(s.bail)},
		{"echo", onOff(s.echo)},
		{"headers", onOff(s.options.Header)},
		{"mode", s.options.Mode.String()},
		{"nullvalue", strconv.Quote(s.options.Null)},
		{"output", output},
		{"pager", onOff(s.pager)},
		{"separator", strconv.Quote(s.options.Separator)},
		{"timer", onOff(s.timer)},
		{"typed", onOff(s.options.Typed)},
		{"width", strings.Trim(fmt.Sprint(s.options.Widths), "[]")},
	} {
		fmt.Fprintf(s.stdout, "%13s: %s\n", setting[0], setting[1])
	}
	fmt.Fprintln(s.stdout, "\nNon-default flags/options:")
	for _, d := range flagDefs {
		if s.flags.given[d.name] {
			fmt.Fprintf(s.stdout, "  %s: %s\n", d.name, s.flags.string(d.name))
		}
	}
	return nil
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// schemas returns the schemas of tables whose name or alias begins with a
// prefix, under the names that match, in order.
func (s *shell) schemas(prefix string) []namedSchema {
	var all []namedSchema
	for _, t := range s.engine.Tables() {
		schema := t.Schema()
		for _, name := range append([]string{schema.Name}, schema.Aliases...) {
			if strings.HasPrefix(name, prefix) {
				all = append(all, namedSchema{name, schema})
			}
		}
	}
	slices.SortFunc(all, func(a, b namedSchema) int { return strings.Compare(a.name, b.name) })
	return all
}

type namedSchema struct {
	name string
	*tables.Schema
}

func argument(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (s *shell) tables(_ context.Context, args []string) error {
	found := s.schemas(argument(args))
	if !s.prompt {
		for _, t := range found {
			fmt.Fprintf(s.stdout, "  => %s\n", t.name)
		}
		return nil
	}
	if len(found) == 0 {
		return s.noTable(argument(args))
	}
	width := 0
	for _, t := range found {
		width = max(width, len(t.name))
	}
	columns, _ := s.term.size()
	return s.page(func(w io.Writer) {
		for _, t := range found {
			line := fmt.Sprintf("  => %-*s  %s", width, t.name, firstSentence(t.Doc))
			fmt.Fprintln(w, render.Clip(line, columns))
		}
	})
}

// page prints what may be longer than the screen.
func (s *shell) page(print func(io.Writer)) error {
	out := s.open()
	var b strings.Builder
	print(&b)
	_, err := io.WriteString(out, b.String())
	if err = errors.Join(err, out.Close()); quiet(err) {
		return nil
	}
	return err
}

func firstSentence(doc string) string {
	sentence, _, _ := strings.Cut(strings.ReplaceAll(doc, "\n", " "), ". ")
	return strings.TrimSuffix(sentence, ".")
}

// schema prints what osqueryi prints: the key of a table is what it is looked
// up by, though rows need not be unique in it.
func (s *shell) schema(_ context.Context, args []string) error {
	found := s.schemas(argument(args))
	if len(found) == 0 && s.prompt {
		return s.noTable(argument(args))
	}
	return s.page(func(w io.Writer) {
		for _, t := range found {
			if s.prompt {
				s.writeDocumentedSchema(w, t)
			} else {
				fmt.Fprintln(w, createTable(t))
			}
		}
	})
}

func createTable(t namedSchema) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s(", t.name)
	for i, c := range t.Columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(columnDefinition(c))
	}
	keys, suffix := primaryKey(t.Schema)
	if len(keys) > 0 {
		fmt.Fprintf(&b, ", PRIMARY KEY (`%s`)", strings.Join(keys, "`, `"))
	}
	b.WriteString(")" + suffix + ";")
	return b.String()
}

func columnDefinition(c tables.ColumnInfo) string {
	text := "`" + c.Name + "` " + c.Type.String()
	if c.Flags.Has(tables.Hidden) {
		text += " HIDDEN"
	}
	if c.Collate != "" {
		text += " COLLATE " + c.Collate
	}
	return text
}

// primaryKey returns the columns that osqueryi shows as key: the indexed and
// additional ones, or all columns where a table has only additional ones.
func primaryKey(schema *tables.Schema) (columns []string, suffix string) {
	indexed, additional := false, false
	for _, c := range schema.Columns {
		indexed = indexed || c.Flags.Has(tables.Index)
		additional = additional || c.Flags.Has(tables.Additional)
	}
	if !indexed && !additional {
		return nil, ""
	}
	for _, c := range schema.Columns {
		if indexed && c.Flags.Any(tables.Index|tables.Additional) || !indexed && !c.Flags.Has(tables.Hidden) {
			columns = append(columns, c.Name)
		}
	}
	return columns, " WITHOUT ROWID"
}

// writeDocumentedSchema prints the statement one column a line, each with what
// it means.
func (s *shell) writeDocumentedSchema(w io.Writer, t namedSchema) {
	fmt.Fprintf(w, "-- %s\n", wrap(t.Doc, s.room(3), "-- "))
	fmt.Fprintf(w, "CREATE TABLE %s(\n", t.name)
	keys, suffix := primaryKey(t.Schema)
	definitions := make([]string, len(t.Columns))
	width := 0
	for i, c := range t.Columns {
		definitions[i] = columnDefinition(c)
		if i < len(t.Columns)-1 || len(keys) > 0 {
			definitions[i] += ","
		}
		width = max(width, len(definitions[i]))
	}
	for i, c := range t.Columns {
		indent := strings.Repeat(" ", width+3) + "-- "
		fmt.Fprintf(w, "  %-*s -- %s\n", width, definitions[i], wrap(c.Doc, s.room(len(indent)), indent))
	}
	if len(keys) > 0 {
		fmt.Fprintf(w, "  PRIMARY KEY (`%s`)\n", strings.Join(keys, "`, `"))
	}
	fmt.Fprintf(w, ")%s;\n", suffix)
}

// noTable says that no table has a name, and which one was perhaps meant.
func (s *shell) noTable(name string) error {
	var names []string
	for _, t := range s.schemas("") {
		names = append(names, t.name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("no such table: %s; did you mean %s?", name, near)
	}
	return fmt.Errorf("no such table: %s; .tables lists the tables, .find searches them", name)
}

func (s *shell) describe(_ context.Context, args []string) error {
	t := s.engine.Table(args[0])
	if t == nil {
		return s.noTable(args[0])
	}
	return s.page(func(w io.Writer) { s.writeDescription(w, t.Schema()) })
}

func (s *shell) writeDescription(w io.Writer, schema *tables.Schema) {
	fmt.Fprintln(w, wrap(schema.Name+" — "+schema.Doc, s.room(0), ""))
	if len(schema.Aliases) > 0 {
		fmt.Fprintf(w, "\nAlso called: %s\n", strings.Join(schema.Aliases, ", "))
	}
	fmt.Fprintln(w, "\nColumns:")
	nameWidth, typeWidth := 0, 0
	for _, c := range schema.Columns {
		nameWidth, typeWidth = max(nameWidth, len(c.Name)), max(typeWidth, len(c.Type.String()))
	}
	for _, c := range schema.Columns {
		doc := c.Doc
		if note := columnNote(c.Flags); note != "" {
			doc += " [" + note + "]"
		}
		indent := strings.Repeat(" ", 2+nameWidth+2+typeWidth+2)
		fmt.Fprintf(w, "  %-*s  %-*s  %s\n", nameWidth, c.Name, typeWidth, c.Type, wrap(doc, s.room(len(indent)), indent))
	}
	privilege := schema.Privilege
	if privilege == "" {
		privilege = "None: anybody sees everything."
	}
	fmt.Fprintf(w, "\n%s\n", wrap("Privilege: "+privilege, s.room(0), ""))
	if len(schema.Examples) > 0 {
		fmt.Fprintln(w, "\nExamples:")
		for _, e := range schema.Examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
}

// room returns how many characters of a line are left beside an indent, on the
// terminal or where there is none.
func (s *shell) room(indent int) int {
	columns, _ := s.term.size()
	if columns == 0 {
		columns = 100
	}
	return max(columns-indent-1, 30)
}

// columnNote says in words what a column's options mean to whoever writes SQL.
func columnNote(f tables.Flags) string {
	var notes []string
	if f.Has(tables.Required) {
		notes = append(notes, "required in WHERE")
	}
	if f.Any(tables.Constrainable &^ tables.Required) {
		notes = append(notes, "narrows the scan")
	}
	if f.Has(tables.Hidden) {
		notes = append(notes, "not in SELECT *")
	}
	return strings.Join(notes, "; ")
}

// find searches names and documentation of tables and columns for texts that
// hold all words.
func (s *shell) find(_ context.Context, args []string) error {
	matches := func(texts ...string) bool {
		all := strings.ToLower(strings.Join(texts, " "))
		for _, word := range args {
			if !strings.Contains(all, strings.ToLower(word)) {
				return false
			}
		}
		return true
	}
	var b strings.Builder
	for _, t := range s.engine.Tables() {
		schema := t.Schema()
		if matches(append([]string{schema.Name, schema.Doc}, schema.Aliases...)...) {
			fmt.Fprintf(&b, "%s — %s\n", schema.Name, firstSentence(schema.Doc))
		}
		for _, c := range schema.Columns {
			if matches(schema.Name, c.Name, c.Doc) {
				fmt.Fprintf(&b, "%s.%s — %s\n", schema.Name, c.Name, firstSentence(c.Doc))
			}
		}
	}
	if b.Len() == 0 {
		return fmt.Errorf("nothing about %q in tables and columns", strings.Join(args, " "))
	}
	return s.page(func(w io.Writer) { io.WriteString(w, b.String()) })
}

func (s *shell) setOnce(_ context.Context, args []string) error {
	f, err := redirect(args[0])
	if err != nil {
		return fmt.Errorf("%w", err)
	}
	if s.once != nil {
		s.once.Close()
	}
	s.once = f
	return nil
}

func (s *shell) setOutput(_ context.Context, args []string) error {
	if s.output != nil {
		err := s.output.Close()
		s.output = nil
		if err != nil {
			return fmt.Errorf("%w", err)
		}
	}
	if name := argument(args); name != "" && name != "stdout" {
		f, err := redirect(name)
		if err != nil {
			return fmt.Errorf("%w", err)
		}
		s.output = f
	}
	return nil
}

// types prints names and types of a statement's columns without running it.
func (s *shell) types(ctx context.Context, sql string) (err error) {
	session := s.conn.Begin(ctx)
	defer func() { err = errors.Join(err, session.Close()) }()
	st, _, err := session.Prepare(sql)
	if err != nil || st == nil {
		return err
	}
	out := s.open()
	printer := render.New(out, s.renderOptions(out))
	printer.Columns([]string{"name", "type"})
	for _, c := range st.Columns() {
		declared := c.DeclType
		if declared == "" {
			declared = "UNKNOWN" // an expression has the type of its value
		}
		printer.Row([]tables.Value{tables.String(c.Name), tables.String(declared)})
	}
	err = errors.Join(printer.End(), printer.Close(), st.Close(), out.Close())
	if quiet(err) {
		return nil
	}
	return err
}
