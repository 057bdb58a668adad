//go:build browser

package page

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// update refreshes docs/status-page.png.
var update = flag.Bool("update", false, "write docs/status-page.png")

func TestPage(t *testing.T) {
	b := browser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"shows the fleet at work": fleetAtWork, "drains by a click": drains, "shows hostile names as text": hostile,
		"has room for many and on a phone": room, "says that the router is gone": gone, "says what is wrong": wrong,
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
}

// row is what the table of instances says in a column of one instance.
func row(id string, column int) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#instances tbody tr")].find((r) => r.dataset.key === %q).children[%d].textContent`, id, column)
}

func fleetAtWork(t *testing.T, b context.Context) {
	var all []*fleet.Instance
	for n := range 3 {
		all = append(all, simulator(t, fmt.Sprintf("gpu-0%d/prefill", n+1), pd.RolePrefill))
	}
	for n := range 5 {
		all = append(all, simulator(t, fmt.Sprintf("gpu-1%d/decode", n+1), pd.RoleDecode))
	}
	critical := nobody("gpu-16/decode", pd.RoleDecode)
	critical.Unusable = `check "vllm" is critical: connection refused`
	s := newScene(t, append(all, critical)...)
	s.underLoad(t, 40)

	tab := open(t, b, s.admin.URL, desktop())
	tab.until(`document.querySelectorAll("#instances tbody tr").length === 9`)
	tab.until(`document.querySelectorAll("path.flow:not(.alone)").length >= 6`)
	tab.until(`document.querySelectorAll("path.flow.alone").length >= 2`)
	tab.until(`document.getElementById("locals").textContent.includes("short prompt")`)
	tab.until(`document.getElementById("locals").textContent.includes("multiple choices")`)
	tab.until(row("gpu-11/decode", 3) + ` > 0`)
	tab.until(`document.querySelector("#instances meter:not([hidden])")`)
	tab.until(`Number(document.querySelector("#numbers dd").textContent) > 200`)
	require.Contains(t, value[string](tab, row("gpu-16/decode", 2)), "connection refused")
	require.Regexp(t, "serving disaggregated; 3 prefill and 5 decode usable, 1 unusable", value[string](tab, `document.getElementById("message").textContent`))
	require.Regexp(t, `[1-9][0-9]? %`, value[string](tab, `document.getElementById("numbers").textContent`))
	picture := compressed(t, tab.shot("status-page"))
	require.Less(t, len(picture), 200<<10, "the picture in docs/")
	if *update {
		require.NoError(t, os.WriteFile("../../docs/status-page.png", picture, 0o644))
	}
	tab.prefer("dark")
	tab.shot("status-page-dark")
	tab.quiet()
}

func drains(t *testing.T, b context.Context) {
	p, d := simulator(t, "p1", pd.RolePrefill), simulator(t, "d1", pd.RoleDecode)
	s := newScene(t, p, d, simulator(t, "d2", pd.RoleDecode))
	tab := open(t, b, s.admin.URL, desktop())
	tab.until(row("d1", 7) + ` === "drain"`)
	tab.run(chromedp.Evaluate[chromedp.Void](`window.before = document.querySelector("tr[data-key=d1] button")`))

	tab.run(chromedp.Click(`tr[data-key=d1] button`))
	tab.until(row("d1", 2) + ` === "drained by an operator"`)
	tab.until(row("d1", 7) + ` === "take back"`)
	require.Contains(t, value[string](tab, `document.getElementById("message").textContent`), "1 prefill and 1 decode usable, 1 unusable")
	for n := range 12 {
		ask(t.Context(), s.public.URL, 0, n)
	}
	tab.until(`[...document.querySelectorAll("path.flow title")].some((e) => e.textContent.includes("d2"))`)
	require.False(t, value[bool](tab, `[...document.querySelectorAll("path.flow title")].some((e) => e.textContent.includes("d1"))`), "nothing went there")

	require.True(t, value[bool](tab, `window.before === document.querySelector("tr[data-key=d1] button")`), "what is clicked is not replaced")
	tab.run(chromedp.Click(`tr[data-key=d1] button`))
	tab.until(row("d1", 2) + ` === "usable"`)
	tab.quiet()
}

func hostile(t *testing.T, b context.Context) {
	const image = `<img src=x onerror="alert(1)">`
	const script = `"></text><script>document.title='taken'</script>`
	broken := nobody(script, pd.RolePrefill)
	broken.Unusable = `<iframe src="javascript:alert(2)">`
	broken.Meta.Model = `<b>model</b>`
	s := newScene(t, broken, simulator(t, image, pd.RoleDecode))
	ask(t.Context(), s.public.URL, 0, 0)
	tab := open(t, b, s.admin.URL, desktop())
	tab.until(row(image, 0) + fmt.Sprintf(" === %q", image))
	tab.until(fmt.Sprintf(`[...document.querySelectorAll("g.box title")].some((e) => e.textContent.startsWith(%q))`, script))
	tab.until(row(script, 2) + fmt.Sprintf(" === %q", broken.Unusable))
	tab.until(fmt.Sprintf(`document.querySelector("#locals td:nth-child(3)").textContent === %q`, image))
	tab.until(fmt.Sprintf(`[...document.querySelectorAll("path.flow title")].some((e) => e.textContent.includes(%q))`, image))
	require.Zero(t, value[int](tab, `document.querySelectorAll("main img, iframe, b, svg script").length`))
	require.Equal(t, "pd-router", value[string](tab, `document.title`))

	tab.run(chromedp.Click(`#instances tbody tr:last-child button`))
	tab.until(row(image, 2) + ` === "drained by an operator"`)
	tab.quiet()
}

// outside are texts of the picture that do not fit into their boxes.
const outside = `[...document.querySelectorAll("g.box rect")].filter((r) => r.getBBox().x < 1 || r.getBBox().x + r.getBBox().width + 1 > document.getElementById("topology").clientWidth).map(() => "cut off").concat([...document.querySelectorAll("g.box")].flatMap((g) => {
  const r = g.querySelector("rect").getBBox(), texts = [...g.querySelectorAll("text")].map((e) => e.getBBox());
  const [a, b] = texts;
  const over = a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height - 3 && b.y < a.y + a.height - 3 && b.width > 0;
  return texts.filter((x) => x.x < r.x || x.x + x.width > r.x + r.width || x.y < r.y - 2 || x.y + x.height > r.y + r.height + 2).map(() => g.textContent)
    .concat(over ? ["overlap: " + g.textContent] : []);
}))`

func room(t *testing.T, b context.Context) {
	for name, l := range map[string]look{
		"desktop": desktop(), "dark": {1180, 900, true}, "narrow": {390, 844, false}, "wide": {2200, 1200, false},
	} {
		for _, size := range [][2]int{{1, 1}, {4, 12}, {20, 60}} {
			name := fmt.Sprintf("%s-%dp%dd", name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				var all []*fleet.Instance
				for n := range size[0] {
					all = append(all, nobody(fmt.Sprintf("gpu-%02d.fra1.example.net/_nomad-task-8f2c4e1a-77aa-4c39-prefill-vllm-http-%d", n, n), pd.RolePrefill))
				}
				for n := range size[1] {
					all = append(all, nobody(fmt.Sprintf("gpu-%02d.fra1.example.net/_nomad-task-1b6d0c9e-12ff-4c39-decode-vllm-http-%d", n, n), pd.RoleDecode))
				}
				all[0].Unusable = `check "vllm-health" is critical: Get "http://10.0.0.7:23145/health": context deadline exceeded`
				s := newScene(t, all...)
				tab := open(t, b, s.admin.URL, l)
				tab.until(fmt.Sprintf(`document.querySelectorAll("#instances tbody tr").length === %d`, len(all)))
				tab.shot(name)
				require.Empty(t, value[[]string](tab, outside))
				require.LessOrEqual(t, value[int64](tab, `document.documentElement.scrollWidth`), l.width, "the page is wider than its window")
				require.LessOrEqual(t, value[float64](tab, `document.getElementById("topology").getBoundingClientRect().right`), float64(l.width))
				tab.quiet()
			})
		}
	}
}

func gone(t *testing.T, b context.Context) {
	s := newScene(t, nobody("p1", pd.RolePrefill), nobody("d1", pd.RoleDecode))
	tab := open(t, b, s.admin.URL, desktop())
	tab.until(row("d1", 2) + ` === "usable"`)
	tab.quiet()
	s.admin.CloseClientConnections()
	s.admin.Close()
	tab.until(`document.getElementById("message").textContent.startsWith("the router does not answer")`)
	tab.until(`getComputedStyle(document.querySelector("main")).opacity < 1`)
	tab.shot("gone")
}

func wrong(t *testing.T, b context.Context) {
	s := newScene(t, nobody("d1", pd.RoleDecode), nobody("d2", pd.RoleDecode))
	s.source.err = fmt.Errorf("Get \"http://127.0.0.1:8500/v1/health/service/vllm\": connection refused")
	tab := open(t, b, s.admin.URL, desktop())
	tab.until(`document.getElementById("message").textContent.startsWith("serving locally: no prefill instance is usable")`)
	tab.until(`!document.getElementById("source").hidden && document.getElementById("source").textContent.includes("127.0.0.1:8500")`)
	tab.shot("wrong")
	tab.quiet()

	// An instance that has just left cannot be drained: the page says so.
	tab.run(chromedp.Evaluate[chromedp.Void](`window.realFetch = fetch; window.fetch = (url, o) => url === "status" ? new Promise(() => {}) : realFetch(url, o)`))
	s.set(nobody("d2", pd.RoleDecode))
	tab.run(chromedp.Click(`tr[data-key=d1] button`))
	tab.until(`!document.getElementById("problem").hidden`)
	require.Equal(t, `there is no instance "d1"; there are: d2`, value[string](tab, `document.getElementById("problem").textContent`))
}
