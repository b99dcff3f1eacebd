package bpfiter

import (
	"context"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

// populate makes n sockets in the mix of a busy host: 50 % connected TCP, 20 %
// UDP, 30 % UNIX pairs, a few listeners. They are held by a process for each
// thousand of them.
func populate(b *testing.B, n int) *kerneltest.Namespace {
	b.Helper()
	const each = 1000
	ns := kerneltest.NewNamespace(b)
	for part := range n / each {
		var socks []*kerneltest.Sock
		listener := ns.Listen(b, fmt.Sprintf("127.0.%d.1:0", part))
		for range each / 4 {
			client, server := ns.Pair(b, listener)
			socks = append(socks, client, server)
		}
		for i := range each / 5 {
			socks = append(socks, ns.UDP(b, fmt.Sprintf("127.1.%d.%d:0", part, 1+i)))
		}
		for i := range each * 3 / 20 {
			one, other := ns.UnixPair(b, unix.SOCK_STREAM)
			if i%4 == 0 {
				if err := unix.Bind(one.FD, &unix.SockaddrUnix{Name: fmt.Sprintf("@bench/%d/%d", part, i)}); err != nil {
					b.Fatal(err)
				}
			}
			socks = append(socks, one, other)
		}
		socks = append(socks, listener)
		kerneltest.Hold(b, nil, socks...)
		for _, s := range socks {
			s.Close()
		}
	}
	return ns
}

func BenchmarkScan(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("sockets=%d", n), func(b *testing.B) {
			s := open(b)
			small := kerneltest.Hold(b, nil, populate(b, n).UDP(b, "127.0.0.1:0"))
			for _, bench := range []struct {
				name string
				req  func(*socket.Request)
			}{
				{"fields=all", func(*socket.Request) {}},
				{"fields=osquery", func(r *socket.Request) {
					r.Fields = socket.FieldFamily | socket.FieldProtocol | socket.FieldState | socket.FieldAddresses | socket.FieldPath | socket.FieldNetns
				}},
				{"fields=none", func(r *socket.Request) { r.Fields = 0 }},
				{"listeners", func(r *socket.Request) {
					r.Kinds, r.States, r.Fields = socket.TCP4|socket.TCP6, 1<<socket.StateListen, socket.FieldAddresses
				}},
				{"remote port", func(r *socket.Request) {
					r.Kinds, r.RemotePorts = socket.TCP4|socket.TCP6, socket.Ports{Restricted: true, Lo: 443, Hi: 443}
				}},
				{"one process", func(r *socket.Request) { r.PIDs = []int32{int32(small.PID)} }},
			} {
				b.Run(bench.name, func(b *testing.B) {
					req := socket.Everything()
					bench.req(&req)
					rows := 0
					b.ReportAllocs()
					for b.Loop() {
						rows = 0
						if err := s.Scan(context.Background(), &req, func(*socket.Socket, ID) bool { rows++; return true }); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(rows), "rows")
				})
			}
			b.Run("ownerless", func(b *testing.B) {
				req := socket.Everything()
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Ownerless(context.Background(), &req, func(*socket.Socket, ID) bool { return true }); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkOpen is a cold start but for the process's own.
func BenchmarkOpen(b *testing.B) {
	open(b)
	onePID := socket.Everything()
	onePID.PIDs, onePID.Fields = []int32{1}, socket.FieldFamily|socket.FieldProtocol|socket.FieldState|socket.FieldAddresses|socket.FieldNetns
	count := socket.Everything()
	count.Fields = 0
	listeners := onePID
	listeners.PIDs, listeners.Kinds, listeners.States = nil, socket.TCP4|socket.TCP6, 1<<socket.StateListen
	for name, first := range map[string]*socket.Request{"any": nil, "one process": &onePID, "count": &count, "listeners": &listeners} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := Open(host, first)
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

// BenchmarkLibrary is what BenchmarkOpen would be if the library loaded the
// program.
func BenchmarkLibrary(b *testing.B) {
	open(b)
	b.ReportAllocs()
	for b.Loop() {
		spec, err := loadFiles()
		if err != nil {
			b.Fatal(err)
		}
		c, err := ebpf.NewCollection(spec)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkFit finds the kernel's types and puts them into the programs.
func BenchmarkFit(b *testing.B) {
	raw, release, err := kernelTypes(host.types())
	if err != nil {
		b.Skip(err)
	}
	defer release()
	open(b)
	b.Run("parse object", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := loadFiles(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pick types", func(b *testing.B) {
		spec, err := loadFiles()
		if err != nil {
			b.Fatal(err)
		}
		names, err := layoutsOf(spec.Types)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			types, err := parseTypes(raw)
			if err != nil {
				b.Fatal(err)
			}
			ids, _ := types.find(names, map[string]bool{"bpf_iter_task_file": true})
			if _, err := types.prune(ids, names); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load program", func(b *testing.B) {
		spec, err := loadFiles()
		if err != nil {
			b.Fatal(err)
		}
		types, err := parseTypes(raw)
		if err != nil {
			b.Fatal(err)
		}
		o, err := fit(spec, types)
		if err != nil {
			b.Fatal(err)
		}
		defer o.close()
		for b.Loop() {
			in, err := o.load(everything)
			if err != nil {
				b.Fatal(err)
			}
			in.close()
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	buf := record(wholeRecord+tcpPart, 0, socket.AllFields)
	var s socket.Socket
	b.ReportAllocs()
	for b.Loop() {
		hundredth.next(buf, &s)
	}
}
