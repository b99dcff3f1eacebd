package pack

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Config is what a set of configuration files says.
type Config struct {
	// Files are the files in the order in which they were merged, with their
	// texts.
	Files []File
	// Options are values of flags, by name.
	Options map[string]string
	Packs   []Pack
	// Decorators are one for each file that has some.
	Decorators []Decorators
	Views      []View
	// Warnings say what was left out, and why.
	Warnings []Warning
	// Sum is the same as that of another Config if the same was read.
	Sum [sha256.Size]byte
}

// A File is a file as it was read.
type File struct {
	Path string
	Text []byte
}

// Decorators are queries whose first row is added to each line of results.
type Decorators struct {
	// Load are run when the configuration was read, Always before each query.
	Load, Always []string
	Interval     []IntervalDecorators
}

// IntervalDecorators are run every so many seconds, a multiple of 60.
type IntervalDecorators struct {
	Seconds uint64
	Queries []string
}

// A View is a view that queries may use.
type View struct{ Name, SQL string }

// A Warning says what of a configuration has no effect.
type Warning struct {
	Position Position
	Text     string
}

func (w Warning) String() string {
	if w.Position.Line == 0 {
		return fmt.Sprintf("%s: %s", w.Position.File, w.Text)
	}
	return fmt.Sprintf("%s: %s", w.Position, w.Text)
}

// Load reads the file at path and the files path.d/*.conf, in the order of
// their names: the file itself comes first. Where two define a query or an
// option of the same name, the later counts. It fails if the file at path
// cannot be read, and with a [*SyntaxError] if one of them is not JSON.
func Load(path string, target Target) (*Config, error) {
	l := loader{target: target, config: &Config{Options: map[string]string{}}, unknown: map[string]bool{}, sum: sha256.New()}
	paths := []string{path}
	dir := path + ".d"
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.warn(Position{File: dir}, "the directory cannot be read: %v", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	for i, path := range paths {
		text, err := l.read(path)
		switch {
		case err != nil && i == 0:
			return nil, fmt.Errorf("pack: read configuration: %w", err)
		case err != nil:
			l.warn(Position{File: path}, "the file cannot be read: %v", err)
			continue
		}
		l.config.Files = append(l.config.Files, File{Path: path, Text: text})
		if err := l.file(path, text); err != nil {
			return nil, err
		}
	}
	l.dropReplaced()
	l.sum.Sum(l.config.Sum[:0])
	return l.config, nil
}

// readFile reads a file up to the limit that the parser complains about.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Comments do not count against the limit, up to as much again.
	return io.ReadAll(io.LimitReader(f, 2*maxFile+1))
}

// A loader collects what files say.
type loader struct {
	target  Target
	config  *Config
	source  *source // the file being read
	unknown map[string]bool
	sum     hash.Hash
}

// read reads a file and takes it into the sum, or why it cannot be read.
func (l *loader) read(path string) ([]byte, error) {
	text, err := readFile(path)
	fmt.Fprintf(l.sum, "%q %d %v\n", path, len(text), err)
	l.sum.Write(text)
	return text, err
}

func (l *loader) warn(p Position, format string, args ...any) {
	l.config.Warnings = append(l.config.Warnings, Warning{Position: p, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) at(offset int) Position { return l.source.position(offset) }

// odd warns once a file of a key that has no effect.
func (l *loader) odd(m *member, what string) {
	key := l.source.file + "\x00" + what + "\x00" + m.name
	if !l.unknown[key] {
		l.unknown[key] = true
		l.warn(l.at(m.at), "%s %q", what, m.name)
	}
}

// foreign are keys of osquery's for parts that this program does not have.
var foreign = []string{
	"file_paths", "exclude_paths", "file_accesses", "file_paths_query", "events", "auto_table_construction",
	"kafka_topics", "yara", "prometheus_targets", "feature_vectors",
}

func (l *loader) file(path string, text []byte) error {
	l.source = newSource(path, text)
	root, err := l.source.parse()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	sections := map[string]func(*member){
		"options": l.options, "schedule": l.schedule, "packs": l.packs,
		"decorators": l.decorators, "views": l.views,
	}
	// The schedule runs before the packs wherever it stands in the file.
	for _, name := range []string{"schedule", "packs", "options", "decorators", "views"} {
		for i := range root.members {
			if m := &root.members[i]; m.name == name && !seen[name] {
				seen[name] = true
				if m.node.kind != '{' {
					l.warn(l.at(m.node.at), "%q is not an object and has no effect", name)
					continue
				}
				sections[name](m)
			}
		}
	}
	for i := range root.members {
		switch m := &root.members[i]; {
		case sections[m.name] != nil:
		case slices.Contains(foreign, m.name):
			l.odd(m, "this program has no use for the key")
		default:
			l.odd(m, "unknown key")
		}
	}
	return nil
}

func (l *loader) options(m *member) {
	for _, o := range m.node.members {
		switch o.node.kind {
		case 's', 'n':
			l.config.Options[o.name] = o.node.text
		case 'b':
			l.config.Options[o.name] = strconv.FormatBool(o.node.truth)
		default:
			l.warn(l.at(o.node.at), "option %q: the value is neither text nor number nor true or false", o.name)
		}
	}
}

func (l *loader) schedule(m *member) {
	p := Pack{Name: Main, File: l.source.file}
	l.queries(&p, &m.node)
	l.config.Packs = append(l.config.Packs, p)
}

func (l *loader) packs(m *member) {
	for i := range m.node.members {
		p := &m.node.members[i]
		switch {
		case p.node.kind == 's':
			l.packFiles(p)
		case p.node.kind != '{':
			l.warn(l.at(p.node.at), "pack %q: neither an object nor the path of a file", p.name)
		case p.name == "*":
			for j := range p.node.members {
				if q := &p.node.members[j]; q.node.kind == '{' {
					l.pack(q.name, &q.node)
				} else {
					l.warn(l.at(q.node.at), "pack %q: not an object", q.name)
				}
			}
		default:
			l.pack(p.name, &p.node)
		}
	}
}

// packFiles reads a pack from the file that m names, or, if the pack's name is
// *, all packs whose paths match a pattern.
func (l *loader) packFiles(m *member) {
	if m.name != "*" {
		l.packFile(m, m.name, m.node.text)
		return
	}
	paths, err := expand(m.node.text)
	if err != nil {
		l.warn(l.at(m.node.at), "packs %q: %v", m.node.text, err)
	}
	if len(paths) == 0 && err == nil {
		l.warn(l.at(m.node.at), "packs %q: no file matches", m.node.text)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		l.packFile(m, strings.TrimSuffix(name, filepath.Ext(name)), path)
	}
}

func (l *loader) packFile(m *member, name, path string) {
	text, err := l.read(path)
	if err != nil {
		l.warn(l.at(m.node.at), "pack %q cannot be read: %v", name, err)
		return
	}
	outer := l.source
	defer func() { l.source = outer }()
	l.source = newSource(path, text)
	root, err := l.source.parse()
	if err != nil {
		var syntax *SyntaxError
		if errors.As(err, &syntax) {
			l.warn(syntax.Position, "pack %q is left out: %v", name, syntax.Err)
		} else {
			l.warn(Position{File: path}, "pack %q is left out: %v", name, err)
		}
		return
	}
	l.pack(name, &root)
}

// expand returns the files that match a pattern in which, as everywhere in
// osquery, % stands for any text within a name and a final %% for all files
// below a directory; * and ? work as in a shell.
func expand(pattern string) ([]string, error) {
	root, rest, recursive := strings.Cut(pattern, "%%")
	if !recursive {
		paths, err := filepath.Glob(strings.ReplaceAll(pattern, "%", "*"))
		return slices.DeleteFunc(paths, func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.IsDir()
		}), err
	}
	if rest != "" {
		return nil, errors.New("%% must be at the end")
	}
	var paths []string
	err := filepath.WalkDir(filepath.Dir(root+"x"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	return paths, err
}

func (l *loader) pack(name string, n *node) {
	p := Pack{Name: name, File: l.source.file}
	for i := range n.members {
		switch m := &n.members[i]; m.name {
		case "platform":
			p.Platform = l.text(m)
		case "version":
			p.Version = l.text(m)
		case "shard":
			p.Shard, _ = l.number(m)
		case "discovery":
			p.Discovery = append(p.Discovery, l.texts(m)...)
		case "queries", "oncall", "description", "name", "author":
		default:
			l.odd(m, "unknown key of a pack")
		}
	}
	p.Skip = l.target.refuse(p.Platform, p.Version, p.Shard)
	switch queries, ok := n.get("queries"); {
	case !ok:
		l.warn(l.at(n.at), "pack %q has no queries", name)
	case queries.kind != '{':
		l.warn(l.at(queries.at), "pack %q: queries is not an object", name)
	default:
		l.queries(&p, queries)
	}
	l.config.Packs = append(l.config.Packs, p)
}

// queries adds the queries of an object to a pack.
func (l *loader) queries(p *Pack, n *node) {
	seen := map[string]bool{}
	for i := range n.members {
		m := &n.members[i]
		if m.node.kind != '{' {
			l.warn(l.at(m.node.at), "query %q is not an object", m.name)
			continue
		}
		if seen[m.name] {
			l.warn(l.at(m.at), "query %q is there twice; the first counts", m.name)
			continue
		}
		seen[m.name] = true
		if q, ok := l.query(m); ok {
			p.Queries = append(p.Queries, q)
		}
	}
	slices.SortStableFunc(p.Queries, func(a, b Query) int {
		return cmp.Or(cmp.Compare(a.priority(), b.priority()), strings.Compare(a.Name, b.Name))
	})
}

func (q *Query) priority() uint64 {
	if !q.Startup {
		return math.MaxUint64
	}
	return q.Priority
}

// query reads one query and reports whether it is to run on this host.
func (l *loader) query(m *member) (Query, bool) {
	q := Query{Name: m.name, Removed: true, Denylist: true, Position: l.at(m.at)}
	var platform, version string
	var shard uint64
	interval, ok := uint64(0), true
	for i := range m.node.members {
		switch k := &m.node.members[i]; k.name {
		case "query":
			q.SQL = l.text(k)
		case "interval":
			if interval, ok = l.number(k); ok && (interval < 1 || interval > MaxInterval) {
				l.warn(l.at(k.node.at), "query %q: interval %d is not between 1 and %d seconds", m.name, interval, MaxInterval)
				ok = false
			}
			q.Interval = interval
		case "snapshot":
			q.Snapshot = l.truth(k)
		case "removed":
			q.Removed = l.truth(k)
		case "denylist", "blacklist":
			q.Denylist = l.truth(k)
		case "startup_priority":
			q.Priority, q.Startup = l.number(k)
		case "platform":
			platform = l.text(k)
		case "version":
			version = l.text(k)
		case "shard":
			shard, _ = l.number(k)
		case "description", "value", "oncall", "author", "attribution", "references":
		default:
			l.odd(k, "unknown key of a query")
		}
	}
	if ok && strings.TrimSpace(q.SQL) == "" {
		l.warn(q.Position, "query %q has no SQL", m.name)
		ok = false
	}
	return q, ok && l.target.refuse(platform, version, shard) == ""
}

func (l *loader) text(m *member) string {
	if m.node.kind != 's' && m.node.kind != 0 {
		l.warn(l.at(m.node.at), "%q is not a text", m.name)
	}
	return m.node.text
}

func (l *loader) texts(m *member) []string {
	if m.node.kind != '[' {
		l.warn(l.at(m.node.at), "%q is not a list", m.name)
		return nil
	}
	var list []string
	for _, item := range m.node.items {
		if item.kind != 's' {
			l.warn(l.at(item.at), "%q holds something that is not a text", m.name)
			continue
		}
		list = append(list, item.text)
	}
	return list
}

// number reads a number that may be in quotes.
func (l *loader) number(m *member) (uint64, bool) {
	if m.node.kind == 's' || m.node.kind == 'n' {
		text := strings.TrimSpace(m.node.text)
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, true
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && f >= 0 && f < 1<<53 {
			return uint64(f), true // 3600.0 and 1e3
		}
	}
	l.warn(l.at(m.node.at), "%q: %q is not a whole number", m.name, m.node.text)
	return 0, false
}

// truth reads a truth value as osquery does: true, "true", "t" or a number
// other than zero.
func (l *loader) truth(m *member) bool {
	switch m.node.kind {
	case 'b':
		return m.node.truth
	case 's':
		word := strings.ToLower(m.node.text)
		return word == "true" || word == "t"
	case 'n':
		f, err := strconv.ParseFloat(m.node.text, 64)
		return err == nil && f != 0
	}
	l.warn(l.at(m.node.at), "%q is neither true nor false", m.name)
	return false
}

func (l *loader) decorators(m *member) {
	var d Decorators
	for i := range m.node.members {
		switch k := &m.node.members[i]; k.name {
		case "load":
			d.Load = l.texts(k)
		case "always":
			d.Always = l.texts(k)
		case "interval":
			d.Interval = l.intervals(k)
		default:
			l.odd(k, "unknown key of decorators")
		}
	}
	l.config.Decorators = append(l.config.Decorators, d)
}

func (l *loader) intervals(m *member) []IntervalDecorators {
	if m.node.kind != '{' {
		l.warn(l.at(m.node.at), "the interval decorators are not an object")
		return nil
	}
	var list []IntervalDecorators
	for i := range m.node.members {
		k := &m.node.members[i]
		seconds, err := strconv.ParseUint(k.name, 10, 64)
		if err != nil || seconds == 0 || seconds%60 != 0 {
			l.warn(l.at(k.at), "decorator interval %q is not a multiple of 60 seconds", k.name)
			continue
		}
		list = append(list, IntervalDecorators{Seconds: seconds, Queries: l.texts(k)})
	}
	slices.SortStableFunc(list, func(a, b IntervalDecorators) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return list
}

func (l *loader) views(m *member) {
	for i := range m.node.members {
		v := &m.node.members[i]
		if sql := l.text(v); sql != "" {
			l.config.Views = slices.DeleteFunc(l.config.Views, func(old View) bool { return old.Name == v.name })
			l.config.Views = append(l.config.Views, View{Name: v.name, SQL: sql})
		}
	}
}

// dropReplaced drops queries that a later file, or a later pack of the same
// name, defines again: they would share one name in the log and one state.
func (l *loader) dropReplaced() {
	type key struct{ pack, query string }
	last := map[key]int{}
	for i, p := range l.config.Packs {
		for _, q := range p.Queries {
			last[key{p.Name, q.Name}] = i
		}
	}
	for i := range l.config.Packs {
		p := &l.config.Packs[i]
		p.Queries = slices.DeleteFunc(p.Queries, func(q Query) bool {
			by := last[key{p.Name, q.Name}]
			if by != i {
				l.warn(q.Position, "query %q is replaced by that of %s", FullName("_", p.Name, q.Name), l.config.Packs[by].File)
			}
			return by != i
		})
	}
}
