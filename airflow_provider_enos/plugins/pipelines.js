// The "EnOS pipelines" page. Airflow shows the component and brings React, its router and Chakra UI,
// so there is nothing to build, and the page looks like the rest of Airflow, also in dark mode.

const { createElement: h, Fragment, useEffect, useMemo, useState } = globalThis.React;
const { Link: RouterLink } = globalThis.ReactRouterDOM;
const { Alert, Badge, Box, Button, Field, Flex, Heading, Input, Link, NativeSelect, Table, Text } =
  globalThis.ChakraUI;

const ROWS = 50;
const LAG_SECONDS = 30;
const COLORS = { RUNNING: "green", PAUSED: "yellow", STOPPED: "gray", PUBLISHED: "blue" };
const MODES = ["Standalone", "Cluster"];
const COLUMNS = [
  { key: "name", label: "Pipeline", value: (row) => row.name ?? row.pipeline_id },
  { key: "status", label: "Status", value: (row) => row.status },
  { key: "mode", label: "Mode", value: (row) => MODES[row.execution_mode] ?? "" },
  { key: "resources", label: "Resources", value: (row) => asText(row.resource_config) },
  { key: "changed", label: "Last change", value: (row) => row.update_time ?? "" },
  { key: "lag", label: "Lag (records)" },
  { key: "started", label: "Last started from Airflow", value: (row) => row.last_start?.at ?? "" },
];

/** Ask the API server; the one line that says what is wrong becomes the error's message. */
const ask = async (path, signal) => {
  const response = await fetch(new URL(path, import.meta.url), { signal });
  if (response.ok) return response.json();
  if (response.status === 401) throw new Error("You are logged out: log in and load the page again.");
  const { detail } = await response.json().catch(() => ({}));
  throw new Error(typeof detail === "string" ? detail : `HTTP ${response.status}`);
};

const pathOf = (connection, orgId, rest = "") =>
  `connections/${encodeURIComponent(connection)}/pipelines${rest}` +
  (orgId ? `?org_id=${encodeURIComponent(orgId)}` : "");

/** {"cpu": 1, "yarn": {"master": 1}} -> "cpu 1, yarn.master 1" */
const asText = (value, name = "") =>
  value !== null && typeof value === "object"
    ? Object.entries(value)
        .map(([key, inner]) => asText(inner, name ? `${name}.${key}` : key))
        .join(", ")
    : `${name} ${value ?? ""}`.trim();

const ago = (time) => {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]])
    if (Math.abs(seconds) >= size) return format.format(Math.round(seconds / size), unit);
  return format.format(Math.round(seconds), "second");
};

/** Read something now, and again when it is fresh no more; not while nobody looks. */
const useRepeated = (read) => {
  const [state, setState] = useState({});
  useEffect(() => {
    if (!read) return undefined;
    const ended = new AbortController();
    let timer;
    let isAsking = false;
    const again = async () => {
      if (document.hidden || isAsking) return;
      isAsking = true;
      const found = await read(ended.signal).then(
        (data) => ({ data, error: undefined }),
        (error) => ({ error: error.message }),
      );
      isAsking = false;
      if (ended.signal.aborted) return;
      setState((before) => ({ data: before.data, ...found }));
      timer = setTimeout(again, found.data ? Math.max(found.data.fresh_seconds, 1) * 1000 : 10_000);
    };
    const seen = () => {
      clearTimeout(timer);
      again();
    };
    document.addEventListener("visibilitychange", seen);
    setState({});
    again();
    return () => {
      document.removeEventListener("visibilitychange", seen);
      clearTimeout(timer);
      ended.abort();
    };
  }, [read]);
  return state;
};

/** The lag of the pipelines that are shown, asked for one after the other. */
const useLags = (connection, orgId, ids) => {
  const [lags, setLags] = useState({});
  const wanted = ids.join();
  useEffect(() => {
    const ended = new AbortController();
    let timer;
    const again = async () => {
      for (const id of document.hidden ? [] : wanted.split(",").filter(Boolean)) {
        const path = pathOf(connection, orgId, `/${encodeURIComponent(id)}/lag`);
        const found = await ask(path, ended.signal).catch((error) => ({ error: error.message }));
        if (ended.signal.aborted) return;
        setLags((before) => ({ ...before, [id]: found }));
      }
      timer = setTimeout(again, LAG_SECONDS * 1000);
    };
    again();
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [connection, orgId, wanted]);
  return lags;
};

const Choice = ({ label, value, options, onChange }) =>
  h(Field.Root, { width: "auto" },
    h(Field.Label, null, label),
    h(NativeSelect.Root, { size: "sm", minWidth: 48 },
      h(NativeSelect.Field, { value, onChange: (event) => onChange(event.target.value) },
        options.map(([key, text]) => h("option", { key, value: key }, text))),
      h(NativeSelect.Indicator)));

const TextField = ({ label, onChange, ...props }) =>
  h(Field.Root, { width: "auto" },
    h(Field.Label, null, label),
    h(Input, {
      size: "sm", minWidth: 56, onChange: (event) => onChange(event.target.value), ...props,
    }));

const Header = ({ column, sort, onSort }) => {
  const [key, direction] = sort;
  const order = key === column.key ? direction : "none";
  if (!column.value)
    return h(Table.ColumnHeader, { fontSize: "xs", textAlign: "end" }, column.label);
  const next = order === "ascending" ? "descending" : "ascending";
  const arrow = { ascending: " ▲", descending: " ▼", none: "" }[order];
  return h(Table.ColumnHeader, { "aria-sort": order },
    h(Button, { variant: "plain", size: "xs", p: 0, h: "auto", onClick: () => onSort([column.key, next]) },
      column.label + arrow));
};

const LastStart = ({ start }) => {
  if (!start) return "";
  const path = ["/dags", start.dag_id, "runs", start.run_id, "tasks", start.task_id]
    .map((part, at) => (at ? encodeURIComponent(part) : part))
    .join("/") + (start.map_index < 0 ? "" : `/mapped/${start.map_index}`);
  const index = start.map_index < 0 ? "" : `[${start.map_index}]`;
  return h(Fragment, null,
    h(Link, { asChild: true, color: "fg.info", textDecoration: "underline" },
      h(RouterLink, { to: path }, `${start.dag_id}.${start.task_id}${index}`)),
    h(Text, { color: "fg.muted", fontSize: "xs", title: start.at },
      ago(start.at) + (start.user ? ` by ${start.user}` : "")));
};

const Row = ({ row, lag }) => {
  const color = row.has_failed ? "red" : (COLORS[row.status] ?? "purple");
  return h(Table.Row, { "data-pipeline": row.pipeline_id },
    h(Table.Cell, null,
      row.console_url
        ? h(Link, {
            href: row.console_url, target: "_blank", rel: "noopener noreferrer",
            color: "fg.info", textDecoration: "underline", title: "Open it in the EnOS console",
          }, row.name ?? row.pipeline_id)
        : h(Text, null, row.name ?? row.pipeline_id),
      h(Text, { color: "fg.muted", fontSize: "xs", fontFamily: "mono" }, row.pipeline_id)),
    h(Table.Cell, null, h(Badge, { colorPalette: color, variant: "surface" }, row.status)),
    h(Table.Cell, null, MODES[row.execution_mode] ?? ""),
    h(Table.Cell, null, asText(row.resource_config)),
    h(Table.Cell, null, row.update_time),
    h(Table.Cell, { textAlign: "end", title: lag?.error ?? lag?.topic },
      lag?.error ? "unknown" : lag?.lag?.toLocaleString("en")),
    h(Table.Cell, null, h(LastStart, { start: row.last_start })));
};

const Pages = ({ page, count, onPage }) =>
  count <= ROWS ? null : h(Flex, { gap: 2, align: "center", justify: "end" },
    h(Button, { size: "sm", variant: "outline", disabled: page === 0, onClick: () => onPage(page - 1) },
      "Previous"),
    h(Text, null, `${page * ROWS + 1}-${Math.min((page + 1) * ROWS, count)} of ${count}`),
    h(Button, {
      size: "sm", variant: "outline", disabled: (page + 1) * ROWS >= count, onClick: () => onPage(page + 1),
    }, "Next"));

const Pipelines = ({ connection, orgId, data, chosen, choose }) => {
  const [page, setPage] = useState(0);
  const text = (chosen.search ?? "").toLowerCase();
  const status = chosen.status ?? "";
  const sort = (chosen.sort ?? "name ascending").split(" ");
  const rows = useMemo(() => {
    const value = COLUMNS.find((column) => column.key === sort[0])?.value ?? COLUMNS[0].value;
    const sign = sort[1] === "descending" ? -1 : 1;
    const matches = (row) =>
      (!status || row.status === status) &&
      `${row.name ?? ""} ${row.pipeline_id}`.toLowerCase().includes(text);
    const { compare } = new Intl.Collator("en", { numeric: true });
    return data.pipelines.filter(matches).sort((a, b) => sign * compare(value(a), value(b)));
  }, [data, text, status, ...sort]);
  const shownPage = Math.min(page, Math.max(Math.ceil(rows.length / ROWS) - 1, 0));
  const shown = rows.slice(shownPage * ROWS, (shownPage + 1) * ROWS);
  const running = shown.filter((row) => row.status === "RUNNING").map((row) => row.pipeline_id);
  const lags = useLags(connection, orgId, running);
  return h(Fragment, null,
    h(Text, { role: "status", color: "fg.muted" },
      `${rows.length} of ${data.pipelines.length} pipelines of organization ${data.org_id}`),
    h(Table.ScrollArea, { borderWidth: "1px", rounded: "md", tabIndex: 0, "aria-label": "Pipelines" },
      h(Table.Root, { size: "sm", interactive: true },
        h(Table.Header, null,
          h(Table.Row, null,
            COLUMNS.map((column) =>
              h(Header, {
                key: column.key, column, sort, onSort: (value) => choose({ sort: value.join(" ") }),
              })))),
        h(Table.Body, null,
          shown.map((row) =>
            h(Row, {
              key: row.pipeline_id, row,
              lag: row.status === "RUNNING" ? lags[row.pipeline_id] : undefined,
            }))))),
    h(Pages, { page: shownPage, count: rows.length, onPage: setPage }));
};

/** "All (8)", "RUNNING (3)" ... */
const statusesOf = (pipelines) => {
  const counts = {};
  for (const { status } of pipelines) counts[status] = (counts[status] ?? 0) + 1;
  const names = Object.keys(counts).sort();
  return [["", `All (${pipelines.length})`], ...names.map((name) => [name, `${name} (${counts[name]})`])];
};

const OrganizationForm = ({ orgId, byDefault, onShow }) => {
  const [typed, setTyped] = useState(orgId);
  const submit = (event) => {
    event.preventDefault();
    onShow(typed.trim());
  };
  return h("form", { onSubmit: submit },
    h(Flex, { gap: 2, align: "end" },
      h(TextField, {
        label: "Organization ID", placeholder: byDefault, value: typed, onChange: setTyped,
      }),
      h(Button, { type: "submit", size: "sm", variant: "outline" }, "Show")));
};

/**
 * What is chosen, kept in the address: it can be sent to somebody, and survives a reload. Not by the
 * router: Airflow makes the page anew, and the field that is typed into, when the router moves.
 */
const useAddress = () => {
  const [chosen, setChosen] = useState(() => Object.fromEntries(new URLSearchParams(location.search)));
  const choose = (changes) =>
    setChosen((before) => {
      const all = Object.entries({ ...before, ...changes });
      return Object.fromEntries(all.filter(([, value]) => value));
    });
  useEffect(() => {
    const search = new URLSearchParams(chosen).toString();
    history.replaceState(history.state, "", location.pathname + (search && `?${search}`));
  }, [chosen]);
  return [chosen, choose];
};

const PipelinesPage = () => {
  const [chosen, choose] = useAddress();
  const [connections, setConnections] = useState();
  const [failure, setFailure] = useState();
  useEffect(() => {
    ask("connections").then(setConnections, (error) => setFailure(error.message));
  }, []);
  const connection = chosen.connection ?? connections?.[0] ?? "";
  const orgId = chosen.org_id ?? "";
  const read = useMemo(
    () => connection && ((signal) => ask(pathOf(connection, orgId), signal)),
    [connection, orgId],
  );
  const { data, error = failure } = useRepeated(read);
  const known = [...new Set([...(connections ?? []), connection].filter(Boolean))];
  return h(Box, { as: "main", p: 4 },
    h(Flex, { direction: "column", gap: 4 },
      h(Heading, { as: "h1", size: "xl" }, "EnOS pipelines"),
      h(Flex, { gap: 4, wrap: "wrap", align: "end" },
        h(Choice, {
          label: "Connection", value: connection, options: known.map((id) => [id, id]),
          onChange: (value) => choose({ connection: value, org_id: "", status: "" }),
        }),
        h(OrganizationForm, {
          key: connection, orgId, byDefault: data?.org_id,
          onShow: (value) => choose({ org_id: value, status: "" }),
        }),
        h(TextField, {
          label: "Search", type: "search", placeholder: "Name or ID",
          value: chosen.search ?? "",
          onChange: (value) => choose({ search: value }),
        }),
        h(Choice, {
          label: "Status", value: chosen.status ?? "",
          options: statusesOf(data?.pipelines ?? []),
          onChange: (value) => choose({ status: value }),
        })),
      error && h(Alert.Root, { status: "error", role: "alert" },
        h(Alert.Indicator), h(Alert.Title, null, error)),
      connections?.length === 0 && !connection && h(Text, null,
        "There is no connection of type EnOS. Add one under Admin > Connections."),
      !data && !error && connection && h(Text, { role: "status" }, "Asking EnOS ..."),
      data && h(Pipelines, { connection, orgId, data, chosen, choose })));
};

globalThis.AirflowPlugin = PipelinesPage;
