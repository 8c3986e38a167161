// Render renders and lints a Helm chart with Helm's own packages, for many sets of values in one process.
//
// It is Helm without what talks to clusters and registries: the same engine, loader, values, schema validation and
// lint rules, in a fraction of the build time of the command line tool.
//
//	render CHART < cases.json > results.json
//
// cases:   {"name": {"release": "r", "namespace": "n", "kube": "v1.33.0", "values": {...}}}
// results: {"name": {"files": {"templates/x.yaml": "..."}, "lint": ["..."], "error": "..."}}
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
)

type instance struct {
	Release   string         `json:"release"`
	Namespace string         `json:"namespace"`
	Kube      string         `json:"kube"`
	Values    map[string]any `json:"values"`
}

type result struct {
	Files map[string]string `json:"files"`
	Lint  []string          `json:"lint"`
	Error string            `json:"error"`
}

func main() {
	if len(os.Args) != 2 {
		stop(fmt.Errorf("usage: render CHART < cases.json"))
	}
	var cases map[string]instance
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		stop(err)
	}
	results := make(map[string]result, len(cases))
	for name, one := range cases {
		results[name] = render(os.Args[1], one)
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		stop(err)
	}
}

func render(path string, one instance) result {
	found := result{Lint: []string{}}
	capabilities := common.DefaultCapabilities.Copy()
	kube, err := common.ParseKubeVersion(one.Kube)
	if err != nil {
		return result{Error: err.Error()}
	}
	capabilities.KubeVersion = *kube
	// Loaded anew each time: coalescing values writes into the chart.
	chart, err := loader.Load(path)
	if err != nil {
		return result{Error: err.Error()}
	}
	if wanted := chart.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, kube.String()) {
		return result{Error: fmt.Sprintf("kubeVersion %s does not hold for %s", wanted, kube)}
	}
	release := common.ReleaseOptions{Name: one.Release, Namespace: one.Namespace, Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(chart, one.Values, release, capabilities)
	if err != nil {
		return result{Error: err.Error()}
	}
	if found.Files, err = (engine.Engine{Strict: true}).Render(chart, values); err != nil {
		return result{Error: err.Error()}
	}
	told := lint.RunAll(path, one.Values, one.Namespace, lint.WithKubeVersion(kube))
	for _, message := range told.Messages {
		found.Lint = append(found.Lint, message.Error())
	}
	return found
}

func stop(err error) {
	fmt.Fprintln(os.Stderr, "render:", err)
	os.Exit(1)
}
