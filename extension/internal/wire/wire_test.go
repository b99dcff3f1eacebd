package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osquery/osquery-go/gen/osquery"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An echo answers a call with its own request, or as answer says.
type echo struct {
	answer func(context.Context, osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error)
}

func (e echo) Ping(context.Context) (*osquery.ExtensionStatus, error) {
	return &osquery.ExtensionStatus{Message: "OK"}, nil
}

func (e echo) Call(ctx context.Context, _, _ string, r osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	if e.answer != nil {
		return e.answer(ctx, r)
	}
	return &osquery.ExtensionResponse{Status: &osquery.ExtensionStatus{}, Response: osquery.ExtensionPluginResponse{r}}, nil
}

func (e echo) Shutdown(context.Context) error { return nil }

func serve(t testing.TB, s Server, h osquery.Extension) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, osquery.NewExtensionProcessor(h)) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return path, stop
}

func call(ctx context.Context, path string, r osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	return Call(ctx, path, func(ctx context.Context, c *osquery.ExtensionManagerClient) (*osquery.ExtensionResponse, error) {
		return c.Call(ctx, "table", "t", r)
	})
}

func TestCall(t *testing.T) {
	path, stop := serve(t, Server{}, echo{})
	if err := Ping(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "nul": "a\x00b", "no UTF-8": "\xff\xfe", "a megabyte": strings.Repeat("x", 1<<20), "20 megabytes": strings.Repeat("y", 20<<20),
	} {
		r, err := call(t.Context(), path, osquery.ExtensionPluginRequest{"k": text})
		if err != nil || len(r.Response) != 1 || r.Response[0]["k"] != text {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	var peer *PeerError
	if err := Ping(t.Context(), path); !errors.As(err, &peer) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// Several messages on one connection, as osquery-go's client sends them.
func TestPersistentConnection(t *testing.T) {
	path, _ := serve(t, Server{}, echo{})
	_, err := Call(t.Context(), path, func(ctx context.Context, c *osquery.ExtensionManagerClient) (any, error) {
		for range 100 {
			if _, err := c.Ping(ctx); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// str is a string as the binary protocol writes it.
func str(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// begin is the beginning of a call whose third argument announces a map.
func begin(size uint32) string {
	return "\x80\x01\x00\x01" + str("call") + "\x00\x00\x00\x01" +
		"\x0b\x00\x01" + str("table") + "\x0b\x00\x02" + str("t") +
		"\x0d\x00\x03\x0b\x0b" + string(binary.BigEndian.AppendUint32(nil, size))
}

// What a bad peer sends ends its own connection, in the time that is given to
// it, and nobody else's.
func TestBadPeers(t *testing.T) {
	path, _ := serve(t, Server{Stall: 50 * time.Millisecond}, echo{})
	for name, text := range map[string]string{
		"nothing, and hangs up":     "",
		"half a header":             "\x80\x01",
		"half a message":            begin(1)[:30],
		"another protocol":          "GET / HTTP/1.1\r\n\r\n",
		"random":                    "\x13\x37\x00\xff\xfe\x00\x00\x00\x7f\xff\xff\xff",
		"a wrong version":           "\x80\x7f\x00\x01" + str("ping") + "\x00\x00\x00\x01\x00",
		"an unknown method":         "\x80\x01\x00\x01" + str("fly") + "\x00\x00\x00\x01\x00",
		"a name of 2 GB":            "\x80\x01\x00\x01\x7f\xff\xff\xff",
		"a name of negative length": "\x80\x01\x00\x01\xff\xff\xff\xff",
		// 2^29 × 8 bytes is 0 in 32 bits: Thrift's library lets it pass.
		"a map of 2^29 strings":  begin(1 << 29),
		"a map of -2^31 strings": begin(1 << 31),
		"a map that never comes": begin(1000),
		"a struct in a struct…":  "\x80\x01\x00\x01" + str("ping") + "\x00\x00\x00\x01" + strings.Repeat("\x0c\x00\x01", 10000),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, text); err != nil && len(text) < 1000 {
				t.Fatal(err)
			}
			if text == "" {
				c.Close()
			} else if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the server does not hang up: %v", err)
			}
			if err := Ping(t.Context(), path); err != nil {
				t.Error(err)
			}
		})
	}
}

// Two hundred at a time, some of which stop halfway, through fewer slots.
func TestManyClients(t *testing.T) {
	path, _ := serve(t, Server{Conns: 64, Stall: 2 * time.Second}, echo{})
	text := strings.Repeat("z", 1<<16)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if i%4 == 0 {
				c, err := net.Dial("unix", path)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				io.WriteString(c, begin(3))
				io.Copy(io.Discard, c)
				return
			}
			for range 5 {
				if r, err := call(t.Context(), path, osquery.ExtensionPluginRequest{"k": text}); err != nil || r.Response[0]["k"] != text {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// A peer that hangs up while its call runs ends the call's context.
func TestPeerGone(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	path, _ := serve(t, Server{}, echo{func(ctx context.Context, _ osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("changed my mind")
	go func() { <-started; cancel(reason) }()
	if _, err := call(ctx, path, nil); !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
	<-ended
}

// Serve ends although a peer does nothing and another's call does not end by
// itself.
func TestServeEnds(t *testing.T) {
	started := make(chan struct{})
	path, stop := serve(t, Server{Grace: 20 * time.Millisecond}, echo{func(ctx context.Context, _ osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	idle, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := call(t.Context(), path, nil); err == nil {
			t.Error("an answer")
		}
	})
	<-started
	stop()
	wg.Wait()
}

func TestServerPanic(t *testing.T) {
	path, _ := serve(t, Server{}, echo{func(_ context.Context, r osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
		panic("on purpose")
	}})
	if _, err := call(t.Context(), path, nil); err == nil {
		t.Error("an answer")
	}
	if err := Ping(t.Context(), path); err != nil {
		t.Error(err)
	}
}

// What a bad server answers is an error, not a crash nor an endless wait.
func TestBadServers(t *testing.T) {
	reply := "\x80\x01\x00\x02" + str("call") + "\x00\x00\x00\x01"
	for name, text := range map[string]string{
		"nothing":               "",
		"half an answer":        reply,
		"another protocol":      "HTTP/1.1 200 OK\r\n\r\n",
		"another answer":        "\x80\x01\x00\x02" + str("ping") + "\x00\x00\x00\x01\x00",
		"another's answer":      "\x80\x01\x00\x02" + str("call") + "\x00\x00\x00\x07\x00",
		"a list of -1 rows":     reply + "\x0c\x00\x00\x0f\x00\x02\x0d\xff\xff\xff\xff",
		"a list of 2^30 rows":   reply + "\x0c\x00\x00\x0f\x00\x02\x0d\x40\x00\x00\x00",
		"a row of 2^29 cells":   reply + "\x0c\x00\x00\x0f\x00\x02\x0d\x00\x00\x00\x01\x0b\x0b\x20\x00\x00\x00",
		"an answer without any": reply + "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				c.Read(make([]byte, 1024))
				io.WriteString(c, text)
			})
			defer wg.Wait()
			defer l.Close()
			if r, err := call(t.Context(), path, nil); err == nil && Failed(path, r.GetStatus()) == nil {
				t.Errorf("an answer: %v", r)
			}
		})
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "listens on") {
		t.Errorf("a second listener: %v", err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as after kill -9
	l, err = Listen(path)
	if err != nil {
		t.Fatalf("in the place of a stale socket: %v", err)
	}
	l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil {
		t.Error("in the place of a file")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if _, err := Listen(filepath.Join(dir, "none", "s")); err == nil {
		t.Error("in no directory")
	}
}

// What killed extensions leave behind goes, and nothing else does.
func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	manager := filepath.Join(dir, "em")
	for _, stale := range []string{"em.7", "em.65535", "em.x", "other.7", "em"} {
		l, err := Listen(filepath.Join(dir, stale))
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	l, err := Listen(filepath.Join(dir, "em.8"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(filepath.Join(dir, "em.9"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveStale(manager); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "em em.8 em.9 em.x other.7" {
		t.Errorf("left are %s", got)
	}
	if err := RemoveStale(filepath.Join(dir, "none", "em")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func FuzzServer(f *testing.F) {
	f.Add([]byte(begin(1)))
	f.Add([]byte("\x80\x01\x00\x01" + str("ping") + "\x00\x00\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			io.Copy(a, bytes.NewReader(data))
			a.Close()
		})
		wg.Go(func() { io.Copy(io.Discard, a) })
		c := newConn(b, requestBuffer, answerBuffer, time.Second, 0)
		for p := c.protocol(); ; {
			if ok, _ := osquery.NewExtensionProcessor(echo{}).Process(t.Context(), p, p); !ok {
				break
			}
		}
		c.Close()
		wg.Wait()
	})
}
