package sockets

import (
	"strings"

	"sockql/tables"
	"sockql/tables/internal/socket"
)

// sources are those that have listed sockets.
type sources struct{ diag, text bool }

// account tells how a question was answered. Namespaces is how many were
// listed, again says that nothing had to be read.
func (l *layout) account(q *tables.Query, used sources, a *question, byBPF bool, namespaces int, again bool) {
	if !q.Accounts() {
		return
	}
	var sources []string
	for _, s := range []struct {
		name Source
		used bool
	}{{BPF, byBPF}, {Netlink, used.diag && (a.ownerless || !byBPF)}, {Procfs, !byBPF || used.text && a.ownerless}} {
		if s.used {
			sources = append(sources, string(s.name))
		}
	}
	q.Account(tables.Account{
		Source: strings.Join(sources, "+"), Pushed: l.pushed(q, a, byBPF || used.diag),
		Namespaces: namespaces, Snapshot: again,
	})
}

// pushed names the columns whose constraints left the source less to collect.
// Text is read by the list, so that ports and addresses are of no use there.
func (l *layout) pushed(q *tables.Query, a *question, filters bool) []string {
	var names []string
	add := func(at int, reached bool) {
		if at >= 0 && reached && !q.Set(at).Unrestricted() {
			names = append(names, l.columns[at].Name)
		}
	}
	add(l.pid, a.request.PIDs != nil)
	add(l.reason, !a.ownerless)
	narrowed := a.request.Kinds != l.kinds
	add(l.familyAt, narrowed)
	add(l.protocolAt, narrowed)
	add(l.typeAt, narrowed)
	states := filters && a.request.Kinds&^stateless != 0
	add(l.stateAt, narrowed || states)
	add(l.codeAt, narrowed || states)
	inet := filters && a.request.Kinds&socket.Inet != 0
	add(l.localAddr, inet && a.request.LocalAddrs != nil)
	add(l.localPortAt, inet)
	add(l.remoteAddr, inet && a.request.RemoteAddrs != nil)
	add(l.remotePortAt, inet)
	add(l.netnsAt, a.request.Namespaces != nil)
	add(l.interfaceAt, a.request.Bound && (narrowed || inet))
	return names
}
