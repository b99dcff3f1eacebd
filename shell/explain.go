package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"sockql/engine"
	"sockql/shell/internal/render"
	"sockql/tables"
)

// explainCommand is .explain: it runs the statements of a text and tells how
// they were answered.
func (s *shell) explainCommand(ctx context.Context, sql string) error {
	before := s.explaining
	s.explaining = true
	defer func() { s.explaining = before }()
	return s.exec(ctx, sql)
}

// explain explains the first statement of a text and returns the rest. What an
// interrupted statement did until then is shown, too.
func (s *shell) explain(ctx context.Context, out *sink, printer *render.Printer, sql string) (tail string, err error) {
	if s.connected != "" {
		return "", errors.New("explain: another program answers, which does not tell how")
	}
	session := s.conn.Begin(ctx)
	defer func() {
		out.warnings = append(out.warnings, session.TakeWarnings()...)
		if e := session.Close(); err == nil {
			err = e
		}
	}()
	e, tail, err := session.Explain(sql)
	if e == nil {
		return tail, err
	}
	out.explained++
	// A person reads a block, a program the rows of the mode that it chose.
	if s.options.Mode == render.Pretty || s.options.Mode == render.Aligned {
		text := explanationText(e)
		if out.explained > 1 {
			text = "\n" + text
		}
		if _, e := io.WriteString(out, text); err == nil {
			err = e
		}
		return tail, err
	}
	printer.Columns(explanationColumns)
	for _, row := range explanationRows(e, out.explained) {
		if e := printer.Row(row); e != nil {
			return tail, errors.Join(err, e)
		}
	}
	if e := printer.End(); err == nil {
		err = e
	}
	return tail, err
}

// explanationColumns are the columns of an explanation for programs.
var explanationColumns = []string{
	"statement", "step", "depth", "kind", "text", "table", "alias", "source", "pushed", "reached", "checked",
	"scans", "copied", "indexed", "snapshots", "namespaces", "rows", "kept", "microseconds",
}

// explanationRows writes an explanation as rows: a scan or a step each, and at
// the end what SQLite took and the total.
func explanationRows(e *engine.Explanation, statement int) [][]tables.Value {
	text := func(s string) tables.Value {
		if s == "" {
			return tables.Null()
		}
		return tables.String(s)
	}
	micros := func(d time.Duration) tables.Value { return tables.Int(d.Microseconds()) }
	var rows [][]tables.Value
	add := func(cells map[string]tables.Value) {
		cells["statement"], cells["step"] = tables.Int(statement), tables.Int(len(rows)+1)
		row := make([]tables.Value, len(explanationColumns))
		for i, name := range explanationColumns {
			row[i] = cells[name]
		}
		rows = append(rows, row)
	}
	for _, step := range e.Steps {
		cells := map[string]tables.Value{"kind": tables.String("step"), "depth": tables.Int(step.Depth), "text": tables.String(step.Text)}
		if scan := step.Scan; scan != nil {
			var checked []string
			for _, c := range scan.Checked {
				checked = append(checked, c.SQL)
			}
			cells["kind"] = tables.String("scan")
			cells["table"], cells["alias"] = tables.String(scan.Name), tables.String(scan.Alias)
			cells["source"], cells["pushed"] = text(scan.Source), text(pushed(scan))
			cells["checked"] = text(strings.Join(checked, " AND "))
			cells["scans"], cells["copied"], cells["indexed"] = tables.Int(scan.Scans), tables.Int(scan.Copied), tables.Int(scan.Indexed)
			cells["rows"], cells["microseconds"] = tables.Int(scan.Rows), micros(scan.Elapsed)
			if scan.Kept >= 0 {
				cells["kept"] = tables.Int(scan.Kept)
			}
			if scan.Accounted {
				cells["reached"] = text(strings.Join(scan.Pushed, ","))
				cells["snapshots"], cells["namespaces"] = tables.Int(scan.Snapshots), tables.Int(scan.Namespaces)
			}
		}
		add(cells)
	}
	add(map[string]tables.Value{"kind": tables.String("sqlite"), "microseconds": micros(e.Elapsed - e.InTables)})
	add(map[string]tables.Value{"kind": tables.String("total"), "text": tables.String(e.SQL), "rows": tables.Int(e.Rows), "microseconds": micros(e.Elapsed)})
	return rows
}

// The layout of a block, which fits into 80 columns.
const (
	explainWidth = 80
	explainName  = 29
	explainLine  = "%-3s%-*s %-11s %7s %9s %8s %8s\n"
	explainLabel = 13 // columns before the text of a detail
)

// explanationText writes an explanation for a person.
func explanationText(e *engine.Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, explainLine, "", explainName, "", "source", "scans", "rows", "kept", "time")
	loop := 0
	for _, step := range e.Steps {
		indent := strings.Repeat("  ", min(step.Depth, 8))
		scan := step.Scan
		if scan == nil {
			indent = "   " + indent
			fmt.Fprintf(&b, "%s%s\n", indent, wrap(step.Text, explainWidth-len(indent), indent))
			continue
		}
		loop++
		number, name := strconv.Itoa(loop), indent+calledName(scan)
		if len([]rune(name)) > explainName { // the figures go to the next line
			fmt.Fprintf(&b, "%-3s%s\n", number, name)
			number, name = "", ""
		}
		fmt.Fprintf(&b, explainLine, number, explainName, name, render.Clip(scan.Source, 11), count(scan.Scans), count(scan.Rows), kept(scan), span(scan.Elapsed))
	}
	fmt.Fprintf(&b, explainLine, "", explainName, "SQLite", "", "", "", "", span(e.Elapsed-e.InTables))
	fmt.Fprintf(&b, explainLine, "", explainName, "total", "", "", count(e.Rows), "", span(e.Elapsed))
	loop = 0
	for _, step := range e.Steps {
		if step.Scan == nil {
			continue
		}
		loop++
		fmt.Fprintf(&b, "\n%-3d%s\n", loop, calledName(step.Scan))
		for _, d := range details(step.Scan) {
			indent := strings.Repeat(" ", explainLabel)
			fmt.Fprintf(&b, "   %-*s%s\n", explainLabel-3, d[0], wrap(d[1], explainWidth-explainLabel, indent))
		}
	}
	fmt.Fprint(&b, "\nThe statement ran; its rows are not shown.\n")
	return render.EscapeLines(b.String())
}

// calledName names a table as the FROM clause does.
func calledName(scan *engine.Scan) string {
	if scan.Alias == "" || scan.Alias == scan.Name {
		return scan.Name
	}
	return scan.Name + " " + scan.Alias
}

// details says about a loop what its line has no room for, each with a label.
func details(scan *engine.Scan) [][2]string {
	var list [][2]string
	add := func(label, format string, args ...any) {
		list = append(list, [2]string{label, fmt.Sprintf(format, args...)})
	}
	switch {
	case len(scan.Terms) > 0:
		add("pushed", "%s", pushed(scan))
	case len(scan.Narrowing) == 0:
		add("pushed", "nothing: the table always gives every row")
	default:
		const most = 6
		names := scan.Narrowing
		more := ""
		if len(names) > most {
			names, more = names[:most], ", …"
		}
		add("pushed", "nothing: every row is read; a constraint on %s%s would narrow it", strings.Join(names, ", "), more)
	}
	if scan.Accounted && len(scan.Terms) > 0 {
		switch {
		case len(scan.Pushed) > 0:
			add("reached", "%s: the source itself left out the rest", strings.Join(scan.Pushed, ", "))
		case scan.Snapshots < scan.Scans-scan.Copied:
			add("reached", "nothing: the table collected all and left out the rest")
		}
	}
	for _, c := range scan.Checked {
		add("SQLite", "%s: %s", c.SQL, c.Reason)
	}
	if scan.Namespaces > 0 {
		add("collected", "%s", plural(int64(scan.Namespaces), "network namespace"))
	}
	if scan.Snapshots > 0 {
		add("snapshots", "%s of %s answered from what was collected before", count(scan.Snapshots), plural(scan.Scans, "scan"))
	}
	if scan.Indexed > 0 {
		add("indexed", "%s of %s looked rows up in a copy of the table", count(scan.Indexed), plural(scan.Scans, "scan"))
	}
	if n := scan.Copied - scan.Indexed; n > 0 {
		add("copies", "%s of %s answered from a copy of one before", count(n), plural(scan.Scans, "scan"))
	}
	if scan.Scans == 0 {
		add("scans", "never: what is around it gave no row")
	}
	return list
}

// pushed writes the terms that a table was given.
func pushed(scan *engine.Scan) string {
	return strings.ReplaceAll(strings.Join(scan.Terms, " AND "), " AND LIMIT ", " LIMIT ")
}

func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return count(n) + " " + noun
}

// count writes a number with its thousands apart.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func kept(scan *engine.Scan) string {
	if scan.Kept < 0 {
		return ""
	}
	return count(scan.Kept)
}

// span writes a duration with two or three digits.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d s", int64(d.Seconds()))
}
