package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A pair is osqueryd and this daemon over the same configuration.
type pair struct {
	*site
	logs [2]string
}

func startPair(t *testing.T, osqueryd, config string, args []string) *pair {
	p := &pair{site: newSite(t, config), logs: [2]string{"osqueryd/osqueryd.results.log", "log/osqueryd.results.log"}}
	for _, dir := range []string{"watched", "osqueryd"} {
		if err := os.Mkdir(p.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.write("watched/zero", "") // without a row the first run would log nothing
	p.write("osquery.conf", strings.ReplaceAll(config, "DIR", p.path("watched")))
	common := append([]string{"--disable_watchdog", "--disable_extensions"}, args...)
	theirs := exec.Command(osqueryd, append([]string{"--config_path=" + p.path("osquery.conf"), "--database_path=" + p.path("rocksdb"),
		"--logger_path=" + p.path("osqueryd"), "--pidfile=" + p.path("osqueryd.pid")}, common...)...)
	for _, cmd := range []*exec.Cmd{theirs, p.command(common...)} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	}
	return p
}

// await waits until f is true of both logs.
func (p *pair) await(what string, f func(log string) bool) {
	p.t.Helper()
	for _, name := range p.logs {
		for end := time.Now().Add(time.Minute); !f(p.read(name)); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				log := p.read(name)
				p.t.Fatalf("%s has not %s after a minute:\n…%s", name, what, log[max(len(log)-2000, 0):])
			}
		}
	}
}

// settle waits until both have seen a change and have run all else since.
func (p *pair) settle(counter int) {
	p.t.Helper()
	seen := regexp.MustCompile(fmt.Sprintf(`"name":"files",.*"counter":%d,`, counter))
	p.await(seen.String(), seen.MatchString)
	var ticks [2]int
	count := func(log string) int { return strings.Count(log, `"name":"zz"`) }
	for i, name := range p.logs {
		ticks[i] = count(p.read(name))
	}
	i := 0
	p.await("two more ticks", func(log string) bool {
		if count(log) < ticks[i]+4 {
			return false
		}
		i++
		return true
	})
}

var times = regexp.MustCompile(`"calendarTime":"[^"]*","unixTime":\d+`)

// byQuery returns the lines of each query but the one that never stands still.
func byQuery(t *testing.T, log string) map[string][]string {
	lines := map[string][]string{}
	for line := range strings.Lines(log) {
		var l struct{ Name string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if l.Name != "zz" {
			lines[l.Name] = append(lines[l.Name], times.ReplaceAllString(line, "WHEN"))
		}
	}
	return lines
}

// osqueryd and this daemon log the same, to the byte but for the time, of the
// same changes; and what was added and not removed is what the query gives.
func TestAgreesWithOsqueryd(t *testing.T) {
	osqueryd, err := exec.LookPath("osqueryd")
	if err != nil {
		t.Skip(err)
	}
	const config = `{
		// comment
		"options": {"host_identifier": "specified", "specified_identifier": "host-1", "schedule_splay_percent": 1000},
		"schedule": {
			"files": {"query": "select path, size, mode, 1.5 * size as d, null as n from file where directory = 'DIR';", "interval": 1},
			"kept": {"query": "select path from file where directory = 'DIR'", "interval": "1", "removed": false},
			"users": {"query": "select username, uid, shell from users where uid < 5", "interval": 2},
			"hosts": {"query": "select address, hostnames from etc_hosts", "interval": 2},
			"snap": {"query": "select 1 as one, 'tab\tline\n' as text, 2.25 as d", "interval": 2, "snapshot": true},
			"bad": {"query": "select * from nope", "interval": 2},
			"zz": {"query": "select unix_time from time", "interval": 1}
		},
		"packs": {"p": {"discovery": ["select 1"], "queries": {
			"q": {"query": "select 'a\"b\\c/\u00e9\u0001\n' as t, x'6162ff' as b, 9007199254740993 as i", "interval": 2},
			"mac": {"query": "select 1", "interval": 1, "platform": "darwin"}}}},
		"decorators": {"load": ["select 'L' as l, 1 as n"], "always": ["select count(*) > 0 as many from users"]}
	}`
	for mode, args := range map[string][]string{
		"event": nil,
		"batch": {"--logger_event_type=false", "--logger_numerics=true", "--logger_snapshot_event_type=true"},
		"top":   {"--decorations_top_level=true", "--schedule_epoch=7"},
	} {
		t.Run(mode, func(t *testing.T) {
			p := startPair(t, osqueryd, config, args)
			// A file appears whole, as one change.
			put := func(name, text string, mode os.FileMode) {
				p.write("new", text)
				os.Chmod(p.path("new"), mode)
				if err := os.Rename(p.path("new"), p.path("watched/"+name)); err != nil {
					t.Fatal(err)
				}
			}
			counter := 0
			for _, change := range []func(){
				func() {},
				func() { put("one", "1", 0o600) },
				func() { put("sp ace\n", "", 0o644) },
				func() { put("one", "22", 0o640) },
				func() { os.Remove(p.path("watched/one")) },
				func() { put("one", "22", 0o640) },
			} {
				change()
				p.settle(counter)
				counter++
			}
			for _, stream := range []string{"results", "snapshots"} {
				theirs, ours := byQuery(t, p.read("osqueryd/osqueryd."+stream+".log")), byQuery(t, p.read("log/osqueryd."+stream+".log"))
				if stream == "snapshots" {
					// How many there are is a matter of when each was started.
					for _, m := range []map[string][]string{theirs, ours} {
						for name := range m {
							m[name] = slices.Compact(m[name])
						}
					}
				}
				if diff := cmp.Diff(theirs, ours); diff != "" || len(ours) == 0 {
					t.Errorf("%s (-osqueryd +ours):\n%s", stream, diff)
				}
			}
			if mode == "event" {
				p.compareState("files", "hosts", "users", "pack_p_q")
			}
		})
	}
}

// rebuild replays the lines of a query's log and returns what is there in the
// end, and how often. It fails if a line removes what is not there, or if the
// counter leaps.
func rebuild(t *testing.T, log, name string) map[string]int {
	state, counter := map[string]int{}, -1
	for line := range strings.Lines(log) {
		var l struct {
			Name, Action string
			Counter      int
			Columns      map[string]string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if l.Name != name {
			continue
		}
		if l.Counter != counter && l.Counter != counter+1 {
			t.Errorf("%s: the counter leaps from %d to %d", name, counter, l.Counter)
		}
		counter = l.Counter
		row := fmt.Sprint(l.Columns)
		if l.Action == "added" {
			state[row]++
			continue
		}
		if state[row]--; state[row] < 0 {
			t.Errorf("%s: %s was removed and had not been added", name, row)
		} else if state[row] == 0 {
			delete(state, row)
		}
	}
	return state
}

// compareState compares the state that the log tells of queries with what they
// give when they are asked for the first time.
func (h *site) compareState(names ...string) {
	h.t.Helper()
	_, fresh, _ := h.run("--once", "--ephemeral", "--logger_plugin=stdout", "--logger_min_status=3", "--pidfile=", "--disable_extensions")
	for _, name := range names {
		want := rebuild(h.t, fresh, name)
		if diff := cmp.Diff(want, rebuild(h.t, h.read("log/osqueryd.results.log"), name)); diff != "" || len(want) == 0 {
			h.t.Errorf("%s (-asked +from the log):\n%s", name, diff)
		}
	}
}
