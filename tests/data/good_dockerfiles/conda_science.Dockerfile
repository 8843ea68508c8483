FROM condaforge/miniforge3:24.9.2-0
COPY environment.yml /tmp/environment.yml
RUN --mount=type=cache,target=/opt/conda/pkgs,sharing=locked \
    conda env update --name base --file /tmp/environment.yml
WORKDIR /work
COPY notebooks notebooks
CMD ["jupyter", "lab", "--ip=0.0.0.0"]
