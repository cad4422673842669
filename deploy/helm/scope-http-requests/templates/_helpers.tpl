{{- define "scope-http-requests.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "scope-http-requests.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "scope-http-requests.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Cluster-wide names carry the namespace: two releases may share a name. */}}
{{- define "scope-http-requests.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "scope-http-requests.fullname" .) }}
{{- end }}

{{- define "scope-http-requests.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scope-http-requests.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "scope-http-requests.labels" -}}
{{ include "scope-http-requests.selectorLabels" . }}
app.kubernetes.io/component: agent
app.kubernetes.io/part-of: weave-scope
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "scope-http-requests.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "scope-http-requests.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "scope-http-requests.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* A command that asks the running agent over its socket. */}}
{{- define "scope-http-requests.ask" -}}
- /scope-http-requests
{{- range .question }}
- {{ . }}
{{- end }}
- --plugins-root={{ .root.Values.scope.pluginsRoot }}
{{- end }}

{{/* Where pods go: values' affinity, and in each of its terms an architecture that there is an image for. */}}
{{- define "scope-http-requests.affinity" -}}
{{- $affinity := deepCopy (.Values.affinity | default dict) }}
{{- with .Values.image.architectures }}
{{- $supported := dict "key" "kubernetes.io/arch" "operator" "In" "values" . }}
{{- $required := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" (dict) $affinity }}
{{- $terms := list }}
{{- range $required.nodeSelectorTerms | default (list (dict)) }}
{{- $terms = append $terms (set . "matchExpressions" (append (.matchExpressions | default list) $supported)) }}
{{- end }}
{{- $node := set ($affinity.nodeAffinity | default dict) "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) }}
{{- $_ := set $affinity "nodeAffinity" $node }}
{{- end }}
{{- with $affinity }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* An upgrade starts the new pod before the old one goes, and the new agent goes on with what the old one counts. A port of the node
can be one pod's only: there the old pod goes first. */}}
{{- define "scope-http-requests.updateStrategy" -}}
{{- if .Values.updateStrategy }}
{{- toYaml .Values.updateStrategy }}
{{- else if and (eq .Values.scope.hostname "host") .Values.metrics.enabled -}}
type: RollingUpdate
rollingUpdate:
  maxUnavailable: 10%
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: 1
  maxUnavailable: 0
{{- end }}
{{- end }}
