package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sockql/internal/sqltext"
	"sockql/shell/internal/render"
	"sockql/tables"
)

// shortestInterval keeps a live view from taking the machine over.
const shortestInterval = 100 * time.Millisecond

// interval reads how often a live view is renewed: a duration, or seconds.
func interval(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		seconds, e := strconv.ParseFloat(text, 64)
		if e != nil {
			return 0, fmt.Errorf("watch: %q is no interval; it takes one such as 1s, 500ms or 2", text)
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d < shortestInterval || d > 24*time.Hour {
		return 0, fmt.Errorf("watch: interval %q is not between %v and 24h", text, shortestInterval)
	}
	return d, nil
}

func (s *shell) watchCommand(ctx context.Context, args []string) error {
	return s.watch(ctx, args[0], args[1])
}

// watch runs a statement at each interval until ctx ends. A terminal shows the
// rows in place; elsewhere each change is a line of JSON.
func (s *shell) watch(ctx context.Context, every, sql string) error {
	d, err := interval(every)
	if err != nil {
		return err
	}
	if blank(sql) {
		return fmt.Errorf("watch: a statement is missing; .watch 1s SELECT …")
	}
	w := &watcher{shell: s, sql: strings.TrimSuffix(strings.TrimSpace(sql), ";"), every: d}
	w.ordered = hasOrder(w.sql)
	out := s.open()
	out.paging = false
	defer out.Close()
	if out.terminal && !s.term.dumb {
		err = w.live(ctx, out)
	} else {
		err = w.stream(ctx, out)
	}
	switch {
	case quiet(err), errors.Is(err, context.Canceled):
		return nil // Ctrl-C is how a live view ends
	case err != nil:
		return s.failed(err, sql)
	}
	return nil
}

// failed prints an error of a statement and returns one for the exit status.
func (s *shell) failed(err error, sql string) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	s.fail("Error:", err, sql)
	return &statusError{errSaid, code(err)}
}

// hasOrder reports whether a statement says itself in which order rows come.
func hasOrder(sql string) bool {
	tokens := sqltext.Tokenize(sql)
	depth := 0
	for i, t := range tokens {
		switch t.Text {
		case "(":
			depth++
		case ")":
			depth--
		}
		if depth == 0 && strings.EqualFold(t.Text, "order") && i+1 < len(tokens) && strings.EqualFold(tokens[i+1].Text, "by") {
			return true
		}
	}
	return false
}

type rowStatus uint8

const (
	same rowStatus = iota
	added
	gone
)

// A watchedRow is a row of a live view.
type watchedRow struct {
	cells  []tables.Value
	key    string
	status rowStatus
}

type watcher struct {
	shell   *shell
	sql     string
	every   time.Duration
	ordered bool
	names   []string
	rows    []watchedRow
	ticks   int
	// warnings are those of the last tick. A live view has no place for them
	// until it ends.
	warnings []error
}

// tick runs the statement and compares its rows with those before, which must
// be equal in every cell to be the same.
func (w *watcher) tick(ctx context.Context) error {
	found, warnings, err := w.shell.collect(ctx, w.sql, &w.names)
	w.warnings = warnings
	if err != nil {
		return err
	}
	if len(w.names) == 0 {
		return errors.New("watch: the statement returns no rows to look at")
	}
	fresh := make([]watchedRow, len(found))
	for i, cells := range found {
		fresh[i] = watchedRow{cells: cells, key: rowKey(cells)}
	}
	w.rows = merge(w.rows, fresh, w.ordered, w.ticks == 0)
	w.ticks++
	return nil
}

// merge returns the rows of a view after a tick. Rows that were gone already
// are dropped. Where the statement gives no order, rows keep their places and
// new ones follow.
func merge(before, fresh []watchedRow, ordered, first bool) []watchedRow {
	left := map[string]int{} // how many equal rows are not matched yet
	for _, r := range fresh {
		left[r.key]++
	}
	known := map[string]int{}
	var merged []watchedRow
	for _, r := range before {
		if r.status == gone {
			continue
		}
		if left[r.key] > 0 {
			left[r.key]--
			known[r.key]++
			r.status = same
		} else {
			r.status = gone
		}
		merged = append(merged, r)
	}
	if !ordered {
		for _, r := range fresh {
			if known[r.key] > 0 {
				known[r.key]--
				continue
			}
			if !first {
				r.status = added
			}
			merged = append(merged, r)
		}
		return merged
	}
	current := make([]watchedRow, 0, len(fresh))
	for _, r := range fresh {
		switch {
		case known[r.key] > 0:
			known[r.key]--
		case !first:
			r.status = added
		}
		current = append(current, r)
	}
	for i, r := range merged {
		if r.status == gone {
			current = slices.Insert(current, min(i, len(current)), r)
		}
	}
	return current
}

func rowKey(cells []tables.Value) string {
	var key []byte
	for _, c := range cells {
		key = append(key, byte(c.Kind()))
		start := len(key)
		key = c.Append(key)
		key = strconv.AppendInt(append(key, 0), int64(len(key)-start), 10)
	}
	return string(key)
}

// loop calls show after each tick, and once more whenever again is received.
// It never works more than half of the time.
func (w *watcher) loop(ctx context.Context, again <-chan os.Signal, show func(error) error) error {
	for {
		started := time.Now()
		err := w.tick(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && w.ticks == 0 {
			return err // it never worked
		}
		if err := show(err); err != nil {
			return err
		}
		took := time.Since(started)
		wait := time.NewTimer(max(w.every-took, took))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				wait.Stop()
				return context.Cause(ctx)
			case <-again:
				if err := show(err); err != nil {
					wait.Stop()
					return err
				}
			case <-wait.C:
				waiting = false
			}
		}
	}
}

// stream prints each change as a JSON object.
func (w *watcher) stream(ctx context.Context, out io.Writer) error {
	partial := false
	return w.loop(ctx, nil, func(err error) error {
		// Once is enough for as long as it stays so: counts in the texts change.
		if !partial {
			w.shell.warn(w.warnings...)
		}
		partial = len(w.warnings) > 0
		if err != nil {
			fmt.Fprintf(w.shell.stderr, "Warning: watch: %s\n", message(err))
			return nil
		}
		var b bytes.Buffer
		now := time.Now().Unix()
		for _, r := range w.rows {
			action := "added"
			switch {
			case r.status == gone:
				action = "removed"
			case r.status == same && w.ticks > 1:
				continue
			}
			fmt.Fprintf(&b, `{"action":"%s","unixTime":%d,"columns":`, action, now)
			p := render.New(&trimmed{&b}, render.Options{Mode: render.JSONL, Typed: w.shell.options.Typed, Null: w.shell.flagNull})
			p.Columns(w.names)
			if err := errors.Join(p.Row(r.cells), p.End(), p.Close()); err != nil {
				return err
			}
			b.WriteString("}\n")
		}
		_, err = out.Write(b.Bytes())
		return err
	})
}

// trimmed leaves out the newline at the end of what is written.
type trimmed struct{ w io.Writer }

func (t *trimmed) Write(b []byte) (int, error) {
	_, err := t.w.Write(bytes.TrimSuffix(b, []byte("\n")))
	return len(b), err
}

// live draws the rows on the terminal's alternate screen, and leaves the last
// view on the normal one.
func (w *watcher) live(ctx context.Context, out io.Writer) error {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	const enter, leave = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
	drawn := false
	var last error
	err := w.loop(ctx, resized, func(err error) error {
		var b bytes.Buffer
		if !drawn {
			b.WriteString(enter)
			drawn = true
		}
		last = err
		w.draw(&b, err)
		_, err = out.Write(b.Bytes())
		return err
	})
	if drawn {
		var b bytes.Buffer
		b.WriteString(leave)
		columns, _ := w.shell.term.size()
		for _, l := range w.view(columns, len(w.rows)+3, last) {
			b.WriteString(l + "\n")
		}
		out.Write(b.Bytes())
	}
	w.shell.warn(w.warnings...)
	return err
}

func (w *watcher) draw(b *bytes.Buffer, err error) {
	columns, lines := w.shell.term.size()
	b.WriteString("\x1b[H")
	for i, l := range w.view(columns, lines, err) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l + "\x1b[K")
	}
	b.WriteString("\x1b[J")
}

// view returns the lines that fit: a heading, the columns' names, the rows with
// a mark, and how many rows are out of sight.
func (w *watcher) view(columns, lines int, err error) []string {
	news, olds := 0, 0
	for _, r := range w.rows {
		switch r.status {
		case added:
			news++
		case gone:
			olds++
		}
	}
	partial := ""
	if len(w.warnings) > 0 {
		partial = " (partial)"
	}
	heading := fmt.Sprintf("%s every %v: %d rows%s, %d new, %d gone: %s", time.Now().Format(time.TimeOnly), w.every, len(w.rows)-olds, partial, news, olds,
		render.Escape(strings.Join(strings.Fields(w.sql), " ")))
	if err != nil {
		heading = fmt.Sprintf("%s every %v: %s", time.Now().Format(time.TimeOnly), w.every, render.Escape(message(err)))
	}
	view := []string{render.Clip(heading, columns)}
	rows := w.rows
	hidden := 0
	if room := max(1, lines-2); len(rows) > room {
		hidden = len(rows) - (room - 1)
		rows = rows[:max(0, room-1)]
	}
	cells := make([][]tables.Value, len(rows))
	for i, r := range rows {
		cells[i] = r.cells
	}
	for i, l := range render.Align(w.names, cells, w.shell.flagNull) {
		mark, color := "  ", ""
		if i == 0 {
			color = "\x1b[1m"
		} else {
			switch rows[i-1].status {
			case added:
				mark, color = "+ ", "\x1b[32m"
			case gone:
				mark, color = "- ", "\x1b[31m"
			}
		}
		l = render.Clip(mark+l, columns)
		if color != "" && w.shell.term.color {
			l = color + l + "\x1b[0m"
		}
		view = append(view, l)
	}
	if hidden > 0 {
		view = append(view, render.Clip(fmt.Sprintf("  … %d more rows", hidden), columns))
	}
	return view
}
