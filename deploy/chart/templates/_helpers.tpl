{{- define "streameval.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "streameval.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "streameval.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "streameval.selector" -}}
app.kubernetes.io/name: {{ include "streameval.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "streameval.labels" -}}
{{ include "streameval.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "streameval.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "streameval.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "streameval.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The configuration file. What only the chart can know is set here: where the state is, and where to listen. */ -}}
{{- define "streameval.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $serve := get $config "serve" | default dict -}}
{{- $serve = set (set $serve "host" "0.0.0.0") "port" (int .Values.port) -}}
{{- $config = set (set $config "serve" $serve) "state" "/var/lib/streameval" -}}
{{- if not (get $config "worker") -}}
{{- $config = set $config "worker" (include "streameval.fullname" .) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* Ports at which brokers listen, as a JSON list. */ -}}
{{- define "streameval.kafkaPorts" -}}
{{- $ports := list -}}
{{- if .Values.networkPolicy.kafkaPorts -}}
{{- $ports = .Values.networkPolicy.kafkaPorts -}}
{{- else if eq .Values.config.transport.kind "kafka" -}}
{{- range .Values.config.transport.bootstrap -}}
{{- $ports = append $ports (regexFind "[0-9]+$" .) -}}
{{- end -}}
{{- end -}}
{{- $whole := list -}}
{{- range $ports }}{{ $whole = append $whole (int .) }}{{ end -}}
{{- $whole | uniq | toJson -}}
{{- end -}}
