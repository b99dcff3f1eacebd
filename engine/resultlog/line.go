package resultlog

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"sockql/internal/jsontext"
)

// A Stream tells the two kinds of lines apart, which osquery writes to two
// files.
type Stream uint8

// The streams.
const (
	Results   Stream = iota // what has changed: osqueryd.results.log
	Snapshots               // all rows: osqueryd.snapshots.log
)

// A Line is a line of a log, without its end.
type Line struct {
	Stream Stream
	Text   string
}

// A Format says how results become lines. The zero Format is not osquery's
// default, which has Events set.
type Format struct {
	// Events gives each row a line of its own (logger_event_type), and
	// SnapshotEvents each row of a snapshot (logger_snapshot_event_type).
	Events, SnapshotEvents bool
	// Numerics writes numbers without quotes (logger_numerics).
	Numerics bool
	// TopLevel puts decorations beside the other keys (decorations_top_level).
	TopLevel bool
}

// An Item is the result of one run of a query.
type Item struct {
	Name           string
	HostIdentifier string
	Time           time.Time
	Epoch, Counter uint64
	Decorations    map[string]string
	// Removed and Added are what has changed, Rows what a snapshot found.
	Removed, Added, Rows []Row
}

// Differential yields the lines of what has changed. It makes them one by one,
// as all of them take more memory than what they say.
func (f Format) Differential(it *Item) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		if !f.Events {
			line := append([]byte(`{"diffResults":{"removed":`), f.array(it.Removed)...)
			line = append(append(line, `,"added":`...), f.array(it.Added)...)
			yield(Line{Results, string(append(f.fields(append(line, `},`...), it), '}'))})
			return
		}
		_ = f.events(yield, Results, it, it.Removed, "removed") && f.events(yield, Results, it, it.Added, "added")
	}
}

// Snapshot yields the lines of a snapshot.
func (f Format) Snapshot(it *Item) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		if f.SnapshotEvents {
			f.events(yield, Snapshots, it, it.Rows, "snapshot")
			return
		}
		line := append([]byte(`{"snapshot":`), f.array(it.Rows)...)
		line = append(line, `,"action":"snapshot",`...)
		yield(Line{Snapshots, string(append(f.fields(line, it), '}'))})
	}
}

// events reports whether to go on.
func (f Format) events(yield func(Line) bool, s Stream, it *Item, rows []Row, action string) bool {
	if len(rows) == 0 {
		return true
	}
	head := append(f.fields([]byte{'{'}, it), `,"columns":`...)
	n := len(head)
	for _, r := range rows {
		head = appendRow(head[:n], r, f.Numerics)
		head = append(append(head, `,"action":"`...), action...)
		head = append(head, `"}`...)
		if !yield(Line{s, string(head)}) {
			return false
		}
	}
	return true
}

func (f Format) array(rows []Row) []byte {
	dst := []byte{'['}
	for i, r := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRow(dst, r, f.Numerics)
	}
	return append(dst, ']')
}

// CalendarTime returns a time as asctime(3) writes it, in UTC.
func CalendarTime(t time.Time) string { return t.UTC().Format("Mon Jan _2 15:04:05 2006") + " UTC" }

// fields appends what lines of all forms have.
func (f Format) fields(dst []byte, it *Item) []byte {
	dst = jsontext.Append(append(dst, `"name":`...), it.Name)
	dst = jsontext.Append(append(dst, `,"hostIdentifier":`...), it.HostIdentifier)
	dst = jsontext.Append(append(dst, `,"calendarTime":`...), CalendarTime(it.Time))
	dst = strconv.AppendInt(append(dst, `,"unixTime":`...), it.Time.Unix(), 10)
	dst = strconv.AppendUint(append(dst, `,"epoch":`...), it.Epoch, 10)
	dst = strconv.AppendUint(append(dst, `,"counter":`...), it.Counter, 10)
	dst = strconv.AppendBool(append(dst, `,"numerics":`...), f.Numerics)
	if len(it.Decorations) == 0 {
		return dst
	}
	dst = append(dst, ',')
	if !f.TopLevel {
		dst = append(dst, `"decorations":{`...)
	}
	for i, name := range slices.Sorted(maps.Keys(it.Decorations)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(jsontext.Append(dst, name), ':')
		dst = jsontext.Append(dst, it.Decorations[name])
	}
	if !f.TopLevel {
		dst = append(dst, '}')
	}
	return dst
}
