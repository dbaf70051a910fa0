# vae-se on a CPU, without root, with the shipped priors; nothing is downloaded at run time.
#
#   docker build -t vae-se .
#   docker run --rm -v "$PWD:/audio" -u "$(id -u):$(id -g)" vae-se enhance talk.wav
#   docker run --rm -p 127.0.0.1:8437:8437 vae-se demo --host 0.0.0.0

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY vae_se vae_se
COPY pretrained pretrained
COPY eval/protocols eval/protocols
COPY examples/noisy.wav examples/noisy.wav
# The CPU build of torch, a tenth of the other in size, comes from its own index and sorts above it.
RUN python -m venv /opt/vae-se \
 && /opt/vae-se/bin/pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
      -c constraints.txt .

FROM python:3.12-slim
LABEL org.opencontainers.image.title="vae-se" org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/vae-se /opt/vae-se
RUN useradd --uid 1000 --create-home vae-se && mkdir /audio && chown vae-se /audio
ENV PATH=/opt/vae-se/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 1000
WORKDIR /audio
EXPOSE 8437
ENTRYPOINT ["vae-se"]
CMD ["--help"]
