# The plugin beside Debian's Orthanc, ready to run:
#   docker build -t orthanc-contrast-enhancement .
#   docker run -p 8042:8042 -p 4242:4242 -v orthanc:/var/lib/orthanc/db orthanc-contrast-enhancement
# The first start prints a generated password; see "Install" in README.md.
FROM debian:12-slim
ENV LANG=C.UTF-8
WORKDIR /opt/orthanc-contrast-enhancement
COPY requirements.lock pyproject.toml ./
COPY scripts/setup scripts/setup
RUN scripts/setup --runtime && rm -rf /var/lib/apt/lists/* /root/.cache
COPY plugin plugin
COPY scripts scripts
COPY model_weights model_weights
COPY orthanc.json LICENSE README.md ./
RUN useradd --system --create-home --home-dir /var/lib/orthanc-ce enhancement \
 && install -d -o enhancement /var/lib/orthanc/db
USER enhancement
VOLUME /var/lib/orthanc/db
EXPOSE 8042 4242
STOPSIGNAL SIGTERM
ENTRYPOINT ["scripts/serve", "--storage", "/var/lib/orthanc/db", "--set", "RemoteAccessAllowed=true"]
