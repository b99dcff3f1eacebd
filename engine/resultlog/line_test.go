package resultlog

import (
	"iter"
	"strings"
	"testing"
	"time"
)

func TestFormats(t *testing.T) {
	it := &Item{
		Name: "q", HostIdentifier: "h", Time: time.Unix(1462228052, 5e8), Epoch: 2, Counter: 3,
		Decorations: map[string]string{"b": "2", "a": "1"},
		Removed:     []Row{`{"n":1}`},
		Added:       []Row{`{"n":2.0}`},
		Rows:        []Row{`{"n":1}`, `{}`},
	}
	const common = `"name":"q","hostIdentifier":"h","calendarTime":"Mon May  2 22:27:32 2016 UTC","unixTime":1462228052,"epoch":2,"counter":3,"numerics":`
	const decorations = `,"decorations":{"a":"1","b":"2"}`
	for name, tt := range map[string]struct {
		lines iter.Seq[Line]
		want  []string
	}{
		"events": {Format{Events: true}.Differential(it), []string{
			"{" + common + "false" + decorations + `,"columns":{"n":"1"},"action":"removed"}`,
			"{" + common + "false" + decorations + `,"columns":{"n":"2.0"},"action":"added"}`}},
		"batch": {Format{Numerics: true, TopLevel: true}.Differential(it), []string{
			`{"diffResults":{"removed":[{"n":1}],"added":[{"n":2.0}]},` + common + `true,"a":"1","b":"2"}`}},
		"snapshot": {Format{Events: true}.Snapshot(it), []string{
			`{"snapshot":[{"n":"1"},{}],"action":"snapshot",` + common + "false" + decorations + "}"}},
		"snapshot events": {Format{SnapshotEvents: true, Numerics: true}.Snapshot(it), []string{
			"{" + common + "true" + decorations + `,"columns":{"n":1},"action":"snapshot"}`,
			"{" + common + "true" + decorations + `,"columns":{},"action":"snapshot"}`}},
		"nothing":       {Format{Events: true}.Differential(&Item{}), nil},
		"nothing batch": {Format{}.Differential(&Item{Time: time.Unix(0, 0)}), []string{`{"diffResults":{"removed":[],"added":[]},"name":"","hostIdentifier":"","calendarTime":"Thu Jan  1 00:00:00 1970 UTC","unixTime":0,"epoch":0,"counter":0,"numerics":false}`}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for l := range tt.lines {
				got = append(got, l.Text)
				if want := strings.HasPrefix(name, "snapshot"); (l.Stream == Snapshots) != want {
					t.Errorf("stream is %d", l.Stream)
				}
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
