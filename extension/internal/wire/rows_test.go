package wire

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/osquery/osquery-go/gen/osquery"
)

func encode(rows osquery.ExtensionPluginResponse) *Rows {
	var r Rows
	for _, row := range rows {
		b := BeginRow(nil)
		for name, text := range row {
			var place int
			b, place = BeginText(AppendText(b, name))
			b = append(b, text...)
			EndText(b, place)
		}
		EndRow(b, uint32(len(row)))
		r.Add(b)
	}
	return &r
}

// Encoded rows are what the generated code reads, whatever their size, and
// whatever the chunk in which they end.
func TestRows(t *testing.T) {
	many := make(osquery.ExtensionPluginResponse, 5000)
	for i := range many {
		many[i] = map[string]string{"n": fmt.Sprint(i), "text": strings.Repeat("x", i%777)}
	}
	answers := map[string]osquery.ExtensionPluginResponse{
		"none":        {},
		"no cells":    {{}, {}},
		"one":         {{"a": "1", "b": "", "c": "x\x00y\xff"}},
		"a full one":  {{"a": strings.Repeat("y", firstChunk-6-4-1-4)}, {"a": "z"}},
		"a megabyte":  {{"a": "1"}, {"a": strings.Repeat("y", 1<<20)}, {"a": "2"}},
		"many, large": many,
	}
	path, _ := serve(t, Server{}, echo{func(ctx context.Context, r osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
		if !Send(ctx, encode(answers[r["k"]])) {
			t.Error("not sent")
		}
		return &osquery.ExtensionResponse{Status: &osquery.ExtensionStatus{Message: r["k"]}}, nil
	}})
	for name, want := range answers {
		r, err := call(t.Context(), path, osquery.ExtensionPluginRequest{"k": name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, r.Response); diff != "" || r.Status.Message != name {
			t.Errorf("%s: %v, rows (-want +got):\n%s", name, r.Status, diff)
		}
		maps, err := encode(want).Maps()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, maps); diff != "" {
			t.Errorf("%s: as maps (-want +got):\n%s", name, diff)
		}
	}
	if Send(t.Context(), new(Rows)) {
		t.Error("sent on no connection")
	}
	var bad Rows
	bad.Add([]byte("no row"))
	if maps, err := bad.Maps(); err == nil {
		t.Errorf("rows of nonsense: %v", maps)
	}
}

// Rows belong to their own answer: one that fails after it was given some has
// none, and neither has the next one on the connection.
func TestRowsOfOneCall(t *testing.T) {
	path, _ := serve(t, Server{}, echo{func(ctx context.Context, r osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
		if r["k"] == "fail" {
			Send(ctx, encode(osquery.ExtensionPluginResponse{{"secret": "1"}}))
			return nil, fmt.Errorf("on purpose")
		}
		return &osquery.ExtensionResponse{Status: &osquery.ExtensionStatus{}, Response: osquery.ExtensionPluginResponse{r}}, nil
	}})
	_, err := Call(t.Context(), path, func(ctx context.Context, c *osquery.ExtensionManagerClient) (any, error) {
		if r, err := c.Call(ctx, "table", "t", osquery.ExtensionPluginRequest{"k": "fail"}); err == nil {
			t.Errorf("an answer: %v", r)
		}
		want := osquery.ExtensionPluginRequest{"k": "mine"}
		r, err := c.Call(ctx, "table", "t", want)
		if err != nil {
			return nil, err
		}
		if diff := cmp.Diff(osquery.ExtensionPluginResponse{want}, r.Response); diff != "" {
			t.Errorf("the next answer (-want +got):\n%s", diff)
		}
		return nil, nil
	})
	if err != nil {
		t.Error(err)
	}
}
